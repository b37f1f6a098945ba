/// Result<T>: the value of an operation, or the reason a caller must decide about.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace muster {

/// What went wrong, in terms a caller can act on; `rest` maps each code to an HTTP status and
/// the command line to an exit code.
enum class ErrorCode {
    invalid_argument,  ///< the input is wrong; the same input will be wrong again
    unauthenticated,   ///< nobody knows who is calling
    permission_denied, ///< known, but not allowed
    not_found,
    conflict,           ///< the state forbids it (another version, already ended, has children)
    resource_exhausted, ///< a limit of ours: too large, too many
    unavailable,        ///< not now; trying again later may succeed
    deadline_exceeded,
};

/// Returns the code's name, e.g. "invalid_argument".
[[nodiscard]] const char* name_of(ErrorCode code) noexcept;

/// The reason an operation was refused. Everything in it is safe to show to the client.
struct Error {
    ErrorCode code{};
    std::string message;
    std::string where{};                ///< JSON pointer, attribute name or "file:line:column"; may be empty
    std::vector<std::string> allowed{}; ///< the values that would have been accepted, when they can be listed
    std::string nearest{};              ///< the allowed value closest to what was given, when there is one

    /// Adds where we were to what happened: `"load plan 7: row is locked"`.
    [[nodiscard]] Error within(const std::string& context) &&;
    /// Returns the whole error as one line for people: where, message, allowed values, nearest match.
    [[nodiscard]] std::string text() const;
};

/// Returns the entry of `allowed` with the smallest edit distance to `given`, or "" when none is
/// close (distance over a third of the length of `given` plus one).
[[nodiscard]] std::string nearest_of(const std::string& given, const std::vector<std::string>& allowed);

/// Returns an invalid_argument error that names the place, the allowed values and the nearest one.
[[nodiscard]] Error not_allowed(const std::string& where, const std::string& given, std::vector<std::string> allowed);

/// Holds either a T or an Error. Never empty. Reading the side it does not hold throws
/// std::bad_variant_access, which is a bug in the caller.
template <typename T>
class [[nodiscard]] Result {
public:
    Result(T value) : state_{std::in_place_index<0>, std::move(value)} {}
    Result(Error error) : state_{std::in_place_index<1>, std::move(error)} {}

    [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return ok(); }

    const T& value() const& { return std::get<0>(state_); }
    T& value() & { return std::get<0>(state_); }
    T&& value() && { return std::get<0>(std::move(state_)); }
    const T& operator*() const& { return value(); }
    T& operator*() & { return value(); }
    T&& operator*() && { return std::get<0>(std::move(state_)); }
    const T* operator->() const { return &value(); }
    T* operator->() { return &value(); }

    const Error& error() const& { return std::get<1>(state_); }
    Error&& error() && { return std::get<1>(std::move(state_)); }

private:
    std::variant<T, Error> state_;
};

/// A result without a value: `return {};` is success.
template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Error error) : error_{std::move(error)}, ok_{false} {}

    [[nodiscard]] bool ok() const noexcept { return ok_; }
    explicit operator bool() const noexcept { return ok_; }
    const Error& error() const& { return error_; }
    Error&& error() && { return std::move(error_); }

private:
    Error error_{};
    bool ok_{true};
};

} // namespace muster
