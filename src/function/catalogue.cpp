#include "function/catalogue.h"

#include "base/digest.h"

namespace muster::function {

void Catalogue::refresh() {
    seen_.resize(entries_.size());
    sources_.clear();
    missing_.clear();
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        const CatalogueEntry& entry = entries_[i];
        std::error_code code;
        const auto size = std::filesystem::file_size(entry.file, code);
        const auto time = code ? std::filesystem::file_time_type{} : std::filesystem::last_write_time(entry.file, code);
        if (code) {
            missing_.push_back(entry.name + " (" + entry.file.string() + ": " + code.message() + ")");
            continue;
        }
        Seen& seen = seen_[i];
        if (seen.digest.empty() || seen.size != size || seen.time != time) {
            auto digest = sha256_file(entry.file);
            if (!digest) {
                missing_.push_back(entry.name + " (" + digest.error().message + ")");
                continue;
            }
            seen = {size, time, std::move(*digest)};
        }
        sources_.push_back({.name = entry.name,
                            .bytes = static_cast<std::int64_t>(size),
                            .digest = seen.digest,
                            .may_leave = entry.may_leave});
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
