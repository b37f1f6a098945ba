#include "app/muster/programs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>
#include <vector>

namespace muster::app {
namespace {

namespace fs = std::filesystem;

/// The first of these folders that is there. Errors: not_found, naming them.
Result<fs::path> first_folder(const std::string& what, const std::vector<fs::path>& places) {
    std::vector<std::string> tried;
    for (const fs::path& place : places) {
        if (fs::is_directory(place)) {
            return fs::canonical(place);
        }
        tried.push_back(place.lexically_normal().string());
    }
    return Error{ErrorCode::not_found, fmt::format("{} is in none of {}", what, fmt::join(tried, ", "))};
}

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

Result<fs::path> program_in_path(const std::string& name) {
    const char* variable = std::getenv("PATH"); // NOLINT(concurrency-mt-unsafe): before any thread
    std::istringstream folders{variable == nullptr || name.find('/') != std::string::npos ? "" : variable};
    if (name.find('/') != std::string::npos && ::access(name.c_str(), X_OK) == 0) {
        return fs::absolute(name);
    }
    for (std::string folder; std::getline(folders, folder, ':');) {
        const fs::path program = fs::absolute(fs::path{folder.empty() ? "." : folder} / name);
        if (fs::is_regular_file(program) && ::access(program.c_str(), X_OK) == 0) {
            return program;
        }
    }
    return Error{ErrorCode::not_found, fmt::format("there is no program {}", name)};
}

Result<fs::path> onnx_package() {
    const fs::path bin = own_program().parent_path();
    return first_folder("the Python package muster_onnx",
                        {bin / "../../../python/muster_onnx", bin / "../share/muster/python/muster_onnx"});
}

Result<fs::path> example_folder(const std::string& name) {
    const fs::path bin = own_program().parent_path();
    std::vector<fs::path> places{bin / "../../../examples" / name, bin / "../share/muster/examples" / name};
    if (const char* variable = std::getenv("MUSTER_EXAMPLES")) { // NOLINT(concurrency-mt-unsafe): before any thread
        places.insert(places.begin(), fs::path{variable} / name);
    }
    return first_folder("the example \"" + name + "\"", places);
}

} // namespace muster::app
