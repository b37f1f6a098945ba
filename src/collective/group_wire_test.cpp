/// What the bytes between ranks look like to somebody who listens.
#include "collective/frame.h"
#include "collective/mesh_group.h"
#include "collective/relay.h"
#include "plain_connection.h"

#include <gtest/gtest.h>

#include <cstring>

namespace muster::collective {
namespace {

using test::connect;
using test::in_threads;
using test::Relay;
using test::Town;

constexpr std::size_t record_head_bytes = 5;
constexpr std::size_t record_bytes_max = (16U << 10U) + 256; // RFC 8446 5.2

/// Returns why the bytes are not a whole number of TLS 1.3 records, or an empty text.
std::string not_tls(const std::string& bytes) {
    std::size_t data_records = 0;
    for (std::size_t at = 0; at < bytes.size();) {
        if (bytes.size() - at < record_head_bytes) {
            return "a record's head is cut";
        }
        const auto byte = [&](std::size_t i) {
            return static_cast<std::size_t>(static_cast<unsigned char>(bytes[at + i]));
        };
        const auto length = byte(3) * 256 + byte(4);
        // 20: the compatibility change-cipher-spec, 22: the two hellos; everything else is encrypted, type 23.
        if ((byte(0) != 20 && byte(0) != 22 && byte(0) != 23) || byte(1) != 3 || (byte(2) != 3 && byte(2) != 1)) {
            return fmt::format("no TLS record at byte {}", at);
        }
        if (length > record_bytes_max || bytes.size() - at - record_head_bytes < length) {
            return fmt::format("record of {} bytes at byte {}", length, at);
        }
        if ((byte(0) == 22 || byte(0) == 20) && data_records > 0) {
            return "a plain record after the encrypted ones";
        }
        data_records += byte(0) == 23 ? 1U : 0U;
        at += record_head_bytes + length;
    }
    return data_records > 0 ? "" : "no encrypted records";
}

TEST(Wire, detector_sees_plain_frames) {
    const auto frame = encode(FrameHeader{.call = {.collective = Collective::barrier, .sequence = 1}});
    EXPECT_NE(not_tls({reinterpret_cast<const char*>(frame.data()), frame.size()}), "");
    EXPECT_NE(not_tls("GET / HTTP/1.1\r\n"), "");
}

const std::string pattern = "MUSTER-TENSOR-16";

using MakeGroup = std::function<std::unique_ptr<Group>(const Town&, GroupSpec)>;

/// What passes between three ranks that exchange the pattern, one text for each direction of each connection.
std::vector<std::string> overheard(const MakeGroup& make) {
    const Town town{3};
    Relay relay{town, true};
    in_threads(3, [&](int rank) {
        const auto group = make(town, relay.spec(rank));
        for (const std::size_t repeats : {std::size_t{4}, std::size_t{8'000}}) {
            std::vector<std::byte> data(repeats * pattern.size());
            for (std::size_t i = 0; i < repeats; ++i) {
                std::memcpy(data.data() + i * pattern.size(), pattern.data(), pattern.size());
            }
            group->broadcast(data, 1);
            group->all_reduce(data, ElementType::u8, ReduceOp::max);
            ASSERT_EQ(std::memcmp(data.data(), pattern.data(), pattern.size()), 0);
            std::vector<std::byte> all(3 * data.size());
            group->all_gather(data, all, std::vector<std::size_t>(3, data.size()));
        }
        group->barrier();
    });
    EXPECT_GT(relay.passed(), 400'000);
    return relay.recorded();
}

bool shows_tensor(const std::string& stream) {
    return stream.find(pattern.substr(0, 8)) != std::string::npos;
}

TEST(Wire, carries_tls_1_3_records_only_and_no_tensor) {
    const auto streams =
        overheard([](const Town& town, GroupSpec spec) { return connect(town, std::move(spec)).value(); });
    // One connection for each pair of ranks, two directions each.
    EXPECT_EQ(streams.size(), 6U);
    const std::string selected_version{"\x00\x2b\x00\x02\x03\x04", 6}; // supported_versions of a server's hello
    std::size_t servers = 0;
    for (const auto& stream : streams) {
        EXPECT_EQ(not_tls(stream), "");
        EXPECT_FALSE(shows_tensor(stream));
        EXPECT_EQ(stream.find("gnb-"), std::string::npos) << "certificates are encrypted as well";
        servers += stream.find(selected_version) != std::string::npos ? 1U : 0U;
    }
    EXPECT_EQ(servers, 3U);
}

TEST(Wire, without_tls_would_be_noticed) {
    const auto streams = overheard([](const Town& town, GroupSpec spec) {
        const auto dialer = tcp_dialer();
        auto edges = bench::join_plain(spec, town.listener(spec.rank), *dialer, Deadline::after(test::patience));
        return std::make_unique<MeshGroup>(spec, std::move(edges).value());
    });
    EXPECT_EQ(streams.size(), 6U);
    for (const auto& stream : streams) {
        EXPECT_NE(not_tls(stream), "");
        EXPECT_TRUE(shows_tensor(stream));
    }
}

} // namespace
} // namespace muster::collective
