#include "data/digest_index.h"

#include "base/file.h"

#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>

namespace muster::data {

namespace {

constexpr std::size_t entries_max = 1024;
constexpr std::int64_t quiet_ns = 2'000'000'000;

std::int64_t nanoseconds(const timespec& time) {
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::string key_of(const std::filesystem::path& source) {
    std::error_code failure;
    const auto whole = std::filesystem::weakly_canonical(source, failure);
    return failure ? source.string() : whole.string();
}

} // namespace

Result<FileStamp> stamp_of(const std::filesystem::path& path) {
    struct stat facts {};
    if (::stat(path.c_str(), &facts) != 0) {
        return Error{ErrorCode::not_found, "cannot be read: " + std::system_category().message(errno), path.string()};
    }
    return FileStamp{.device = facts.st_dev,
                     .inode = facts.st_ino,
                     .bytes = facts.st_size,
                     .modified_ns = nanoseconds(facts.st_mtim),
                     .changed_ns = nanoseconds(facts.st_ctim)};
}

DigestIndex::DigestIndex(std::filesystem::path file) : file_{std::move(file)} {
    const auto text = read_file(file_);
    if (!text) {
        return;
    }
    const auto json = nlohmann::json::parse(*text, nullptr, false);
    if (!json.is_object()) {
        return;
    }
    for (const auto& [source, entry] : json.items()) {
        try {
            entries_[source] = {{.device = entry.at("device"),
                                 .inode = entry.at("inode"),
                                 .bytes = entry.at("bytes"),
                                 .modified_ns = entry.at("modified_ns"),
                                 .changed_ns = entry.at("changed_ns")},
                                entry.at("sha256")};
        } catch (const nlohmann::json::exception&) {
            entries_.erase(source); // a damaged line costs one more hashing and nothing else
        }
    }
}

std::optional<std::string> DigestIndex::find(const std::filesystem::path& source, const FileStamp& stamp) const {
    const auto found = entries_.find(key_of(source));
    if (found == entries_.end() || found->second.stamp != stamp) {
        return std::nullopt;
    }
    return found->second.digest;
}

void DigestIndex::remember(const std::filesystem::path& source,
                           const FileStamp& stamp,
                           std::string digest,
                           std::int64_t now_ns) {
    if (now_ns - std::max(stamp.modified_ns, stamp.changed_ns) < quiet_ns) {
        return;
    }
    if (entries_.size() >= entries_max) {
        entries_.clear();
    }
    entries_[key_of(source)] = {stamp, std::move(digest)};
    changed_ = true;
}

Result<void> DigestIndex::save() {
    if (!changed_) {
        return {};
    }
    auto json = nlohmann::json::object();
    for (const auto& [source, entry] : entries_) {
        json[source] = {{"device", entry.stamp.device},
                        {"inode", entry.stamp.inode},
                        {"bytes", entry.stamp.bytes},
                        {"modified_ns", entry.stamp.modified_ns},
                        {"changed_ns", entry.stamp.changed_ns},
                        {"sha256", entry.digest}};
    }
    changed_ = false;
    return replace_file(file_, json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

} // namespace muster::data
