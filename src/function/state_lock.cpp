#include "function/state_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <system_error>

namespace muster::function {

Result<UniqueFd> lock_state(const std::filesystem::path& folder) {
    std::error_code code;
    std::filesystem::create_directories(folder, code);
    const auto path = folder / "lock";
    UniqueFd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (!fd.valid()) {
        return Error{ErrorCode::unavailable, std::system_category().message(errno), path.string()};
    }
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK
                   ? Error{ErrorCode::conflict, "another muster function runs with this state", folder.string()}
                   : Error{ErrorCode::unavailable, std::system_category().message(errno), path.string()};
    }
    return fd;
}

} // namespace muster::function
