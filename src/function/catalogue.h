/// The data that a function holds: names for the outside, places for itself.
#pragma once

#include "base/result.h"
#include "model/capacity.h"

#include <filesystem>
#include <string>
#include <vector>

namespace muster::function {

/// A row of the configuration.
struct CatalogueEntry {
    std::string name;
    std::filesystem::path file; ///< or a folder of files
    bool may_leave{false};
    bool pinned{false}; ///< sites of that name have rows of their own, which stay with them
    std::vector<RowGrant> rows_may_leave{};
};

/// The entries with size and digest of their content. One thread.
class Catalogue {
public:
    explicit Catalogue(std::vector<CatalogueEntry> entries);
    ~Catalogue();
    Catalogue(Catalogue&&) noexcept;
    Catalogue& operator=(Catalogue&&) noexcept;

    /// Reads sizes and digests again where a file has changed (size or modification time). Sources that cannot be read
    /// are left out; their names are in `missing`.
    void refresh();
    [[nodiscard]] const std::vector<DataSource>& sources() const { return sources_; }
    [[nodiscard]] const std::vector<std::string>& missing() const { return missing_; }
    /// Errors: not_found with the nearest name.
    [[nodiscard]] Result<std::filesystem::path> file_of(const std::string& name) const;

private:
    struct Seen;
    std::vector<CatalogueEntry> entries_;
    std::vector<Seen> seen_;
    std::vector<DataSource> sources_;
    std::vector<std::string> missing_;
};

} // namespace muster::function
