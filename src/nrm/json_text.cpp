#include "nrm/json_text.h"

#include "nrm/value_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace muster::nrm {
namespace {

using Json = nlohmann::json;

/// Walks over the text and leaves in `*reached` how far the parser has read, for the place of our own errors.
class Reader {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = const char&;

    Reader(const char* at, const char** reached) : at_{at}, reached_{reached} {}

    reference operator*() const { return *at_; }
    Reader& operator++() {
        *reached_ = ++at_;
        return *this;
    }
    Reader operator++(int) {
        const Reader before = *this;
        ++*this;
        return before;
    }
    bool operator==(const Reader& other) const { return at_ == other.at_; }

private:
    const char* at_;
    const char** reached_;
};

/// Returns e.g. "line 3, column 5"; columns count bytes, from 1.
std::string place_of(std::string_view text, std::size_t offset) {
    const std::string_view before = text.substr(0, offset);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const std::size_t line_begin = before.rfind('\n');
    const std::size_t column = offset - (line_begin == std::string_view::npos ? 0 : line_begin + 1);
    return fmt::format("line {}, column {}", line, column == 0 ? 1 : column);
}

/// The parser quotes what it read, however long and whatever bytes it holds; our messages are short and printable.
std::string printable(std::string text) {
    constexpr std::size_t bytes_max = 160;
    if (text.size() > bytes_max) {
        text = text.substr(0, bytes_max) + "...";
    }
    std::ranges::replace_if(
        text, [](char c) { return c < 0x20 || c > 0x7E; }, '?');
    return text;
}

/// Builds the value from the parser's events, on a stack of our own. The names are the parser's.
class Builder final : public nlohmann::json_sax<Json> {
public:
    Builder(std::string_view text, const char* const* reached, std::size_t depth_max)
        : text_{text}, reached_{reached}, depth_max_{depth_max} {}

    bool null() override { return add(nullptr); }
    bool boolean(bool value) override { return add(value); }
    bool number_integer(number_integer_t value) override { return add(value); }
    bool number_unsigned(number_unsigned_t value) override { return add(value); }
    bool number_float(number_float_t value, const string_t& /*text*/) override { return add(value); }
    bool string(string_t& value) override { return add(std::move(value)); }
    bool binary(binary_t& /*value*/) override { return fail("binary values are not JSON"); }

    bool start_object(std::size_t /*size*/) override { return open(Json::object()); }
    bool end_object() override { return close(); }
    bool start_array(std::size_t /*size*/) override { return open(Json::array()); }
    bool end_array() override { return close(); }

    bool key(string_t& name) override {
        if (stack_.back()->contains(name)) {
            return fail(fmt::format("the name \"{}\" is there twice", shortened(name)));
        }
        key_ = std::move(name);
        return true;
    }

    bool parse_error(std::size_t position,
                     const std::string& /*last_token*/,
                     const nlohmann::detail::exception& exception) override {
        // "[json.exception.parse_error.101] parse error at line 1, column 2: what" -> "what"
        const std::string whole = exception.what();
        const std::size_t colon = whole.find(": ");
        const std::size_t bracket = whole.find("] ");
        const std::size_t begin = colon != std::string::npos     ? colon + 2
                                  : bracket != std::string::npos ? bracket + 2
                                                                 : 0;
        error_ = Error{ErrorCode::invalid_argument,
                       "not JSON: " + printable(whole.substr(begin)),
                       place_of(text_, std::min(position, text_.size()))};
        return false;
    }

    Result<Json> result() && {
        if (error_) {
            return *std::move(error_);
        }
        return std::move(root_);
    }

private:
    bool fail(std::string message, ErrorCode code = ErrorCode::invalid_argument) {
        error_ = Error{code, std::move(message), place_of(text_, static_cast<std::size_t>(*reached_ - text_.data()))};
        return false;
    }

    Json* put(Json value) {
        if (stack_.empty()) {
            root_ = std::move(value);
            return &root_;
        }
        Json& parent = *stack_.back();
        if (parent.is_array()) {
            parent.push_back(std::move(value));
            return &parent.back();
        }
        return &(parent[std::move(key_)] = std::move(value));
    }

    bool add(Json value) {
        put(std::move(value));
        return true;
    }

    bool open(Json value) {
        if (stack_.size() == depth_max_) {
            return fail(fmt::format("nested deeper than {} arrays and objects", depth_max_),
                        ErrorCode::resource_exhausted);
        }
        // Pointers stay valid: only the innermost container grows.
        stack_.push_back(put(std::move(value)));
        return true;
    }

    bool close() {
        stack_.pop_back();
        return true;
    }

    std::string_view text_;
    const char* const* reached_;
    std::size_t depth_max_;
    Json root_;
    std::vector<Json*> stack_;
    std::string key_;
    std::optional<Error> error_;
};

} // namespace

Result<Json> parse_json(std::string_view text, std::size_t depth_max) {
    const char* reached = text.data();
    Builder builder{text, &reached, depth_max};
    // The result is in the builder: it is false exactly when the builder holds an error.
    static_cast<void>(
        Json::sax_parse(Reader{text.data(), &reached}, Reader{text.data() + text.size(), &reached}, &builder));
    return std::move(builder).result();
}

} // namespace muster::nrm
