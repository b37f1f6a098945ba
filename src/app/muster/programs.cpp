#include "app/muster/programs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <vector>

namespace muster::app {
namespace {

namespace fs = std::filesystem;

} // namespace

fs::path own_program() {
    std::error_code code;
    return fs::read_symlink("/proc/self/exe", code);
}

Result<fs::path> sibling(const std::string& name) {
    const fs::path path = own_program().parent_path() / name;
    if (!fs::exists(path)) {
        return Error{ErrorCode::not_found,
                     fmt::format("{} is not beside {}; build it with ./run build", name, own_program().string())};
    }
    return path;
}

Result<fs::path> example_folder(const std::string& name) {
    const fs::path bin = own_program().parent_path();
    std::vector<fs::path> places{bin / "../../../examples" / name, bin / "../share/muster/examples" / name};
    if (const char* variable = std::getenv("MUSTER_EXAMPLES")) { // NOLINT(concurrency-mt-unsafe): before any thread
        places.insert(places.begin(), fs::path{variable} / name);
    }
    std::vector<std::string> tried;
    for (const fs::path& place : places) {
        if (fs::is_directory(place)) {
            return fs::canonical(place);
        }
        tried.push_back(place.lexically_normal().string());
    }
    return Error{ErrorCode::not_found,
                 fmt::format("the example \"{}\" is in none of {}", name, fmt::join(tried, ", "))};
}

} // namespace muster::app
