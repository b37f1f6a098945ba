/// A folder for a test, removed at its end.
#pragma once

#include "base/id.h"

#include <filesystem>

namespace muster::store {

/// Owns a fresh folder below the system's temporary one.
class TemporaryFolder {
public:
    TemporaryFolder() : path_{std::filesystem::temp_directory_path() / ("muster-store-" + random_hex(8))} {
        std::filesystem::create_directory(path_);
    }
    ~TemporaryFolder() {
        std::error_code ignored; // a test that fails must still report its own failure
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

} // namespace muster::store
