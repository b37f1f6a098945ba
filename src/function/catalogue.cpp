#include "function/catalogue.h"

#include "base/digest.h"
#include "base/source_files.h"

#include <numeric>
#include <utility>

namespace muster::function {

namespace {

struct FileFacts {
    std::vector<std::filesystem::path> files;
    std::vector<std::uintmax_t> sizes;
    std::vector<std::filesystem::file_time_type> times;

    bool operator==(const FileFacts&) const = default;
};

Result<FileFacts> facts_of(const std::filesystem::path& source) {
    auto files = source_files(source);
    if (!files) {
        return std::move(files).error();
    }
    FileFacts facts{.files = std::move(*files), .sizes = {}, .times = {}};
    for (const auto& file : facts.files) {
        std::error_code code;
        facts.sizes.push_back(std::filesystem::file_size(file, code));
        facts.times.push_back(code ? std::filesystem::file_time_type{} : std::filesystem::last_write_time(file, code));
        if (code) {
            return Error{ErrorCode::unavailable, code.message(), file.string()};
        }
    }
    return facts;
}

/// As muster-data names the content of a source.
Result<std::string> digest_of(const std::filesystem::path& source, const std::vector<std::filesystem::path>& files) {
    std::string digests;
    for (const auto& file : files) {
        auto digest = sha256_file(file);
        if (!digest || file == source) {
            return digest;
        }
        digests += *digest + "\n";
    }
    return sha256_hex(digests);
}

} // namespace

struct Catalogue::Seen {
    FileFacts facts{};
    std::string digest{};
};

Catalogue::Catalogue(std::vector<CatalogueEntry> entries) : entries_{std::move(entries)} {}
Catalogue::~Catalogue() = default;
Catalogue::Catalogue(Catalogue&&) noexcept = default;
Catalogue& Catalogue::operator=(Catalogue&&) noexcept = default;

void Catalogue::refresh() {
    seen_.resize(entries_.size());
    sources_.clear();
    missing_.clear();
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        const CatalogueEntry& entry = entries_[i];
        auto facts = facts_of(entry.file);
        if (!facts) {
            missing_.push_back(entry.name + " (" + facts.error().where + ": " + facts.error().message + ")");
            continue;
        }
        Seen& seen = seen_[i];
        if (seen.digest.empty() || seen.facts != *facts) {
            auto digest = digest_of(entry.file, facts->files);
            if (!digest) {
                missing_.push_back(entry.name + " (" + digest.error().message + ")");
                continue;
            }
            seen = {std::move(*facts), std::move(*digest)};
        }
        const auto bytes = std::accumulate(seen.facts.sizes.begin(), seen.facts.sizes.end(), std::uintmax_t{0});
        sources_.push_back({.name = entry.name,
                            .bytes = static_cast<std::int64_t>(bytes),
                            .digest = seen.digest,
                            .may_leave = entry.may_leave,
                            .pinned = entry.pinned,
                            .rows_may_leave = entry.rows_may_leave});
    }
}

Result<std::filesystem::path> Catalogue::file_of(const std::string& name) const {
    std::vector<std::string> names;
    for (const CatalogueEntry& entry : entries_) {
        if (entry.name == name) {
            return entry.file;
        }
        names.push_back(entry.name);
    }
    Error error = not_allowed("data source", name, std::move(names));
    error.code = ErrorCode::not_found;
    return error;
}

} // namespace muster::function
