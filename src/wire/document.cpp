#include "wire/document.h"

#include "base/file.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <charconv>

namespace muster::wire {
namespace {

/// An alias may stand for what it is a part of: such a value would never end.
constexpr int depth_max = 32;

std::string place_of(const std::string& name, const YAML::Mark& mark) {
    return mark.is_null() ? name : fmt::format("{}:{}:{}", name, mark.line + 1, mark.column + 1);
}

/// Plain scalars by YAML 1.2's core schema, without its octal and hexadecimal forms.
Json scalar(const YAML::Node& node) {
    const std::string& text = node.Scalar();
    if (node.Tag() == "!") { // quoted
        return text;
    }
    if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") {
        return nullptr;
    }
    if (text == "true" || text == "True" || text == "TRUE") {
        return true;
    }
    if (text == "false" || text == "False" || text == "FALSE") {
        return false;
    }
    const char* const first = text.data() + (text.front() == '+' ? 1 : 0);
    const char* const last = text.data() + text.size();
    std::int64_t whole = 0;
    if (auto [end, code] = std::from_chars(first, last, whole); code == std::errc{} && end == last) {
        return whole;
    }
    double real = 0.0;
    const bool starts_like_a_number =
        first != last && (*first == '-' || *first == '.' || (*first >= '0' && *first <= '9'));
    if (auto [end, code] = std::from_chars(first, last, real);
        starts_like_a_number && code == std::errc{} && end == last) {
        return real;
    }
    return text;
}

struct Converter {
    const std::string& name;
    std::size_t nodes_left;
    Places places{};
    std::optional<Error> error{};

    void fail(const YAML::Node& node, std::string message) {
        if (!error) {
            error = Error{ErrorCode::invalid_argument, std::move(message), place_of(name, node.Mark())};
        }
    }

    Json convert(const YAML::Node& node, const std::string& pointer, int depth = 0) {
        if (nodes_left == 0) {
            fail(node, "too many values");
        }
        if (depth > depth_max) {
            fail(node, fmt::format("nested deeper than {} levels", depth_max));
        }
        if (error) {
            return nullptr;
        }
        --nodes_left;
        places.emplace(pointer, place_of(name, node.Mark()));
        if (node.IsSequence()) {
            Json list = Json::array();
            for (std::size_t i = 0; i < node.size() && !error; ++i) {
                list.push_back(convert(node[i], fmt::format("{}/{}", pointer, i), depth + 1));
            }
            return list;
        }
        if (node.IsMap()) {
            return convert_map(node, pointer, depth);
        }
        return node.IsScalar() ? scalar(node) : Json(nullptr);
    }

    Json convert_map(const YAML::Node& node, const std::string& pointer, int depth) {
        Json object = Json::object();
        for (const auto& entry : node) {
            if (!entry.first.IsScalar()) {
                fail(entry.first, "a key must be a text");
                break;
            }
            const std::string key = entry.first.Scalar();
            if (object.contains(key)) {
                fail(entry.first, fmt::format("the key \"{}\" stands here a second time", key));
                break;
            }
            const std::string place = pointer + "/" + pointer_token(key);
            object[key] = convert(entry.second, place, depth + 1);
            places[place] = place_of(name, entry.first.Mark());
        }
        return object;
    }
};

void emit(YAML::Emitter& out, const Json& value) {
    if (value.is_object()) {
        out << YAML::BeginMap;
        for (const auto& [key, item] : value.items()) {
            out << YAML::Key << key << YAML::Value;
            emit(out, item);
        }
        out << YAML::EndMap;
    } else if (value.is_array()) {
        out << YAML::BeginSeq;
        for (const Json& item : value) {
            emit(out, item);
        }
        out << YAML::EndSeq;
    } else if (value.is_string()) {
        YAML::Node node{value.get<std::string>()};
        const bool plain = scalar(node).is_string() && !value.get_ref<const std::string&>().empty();
        out << (plain ? YAML::Auto : YAML::DoubleQuoted) << value.get<std::string>();
    } else if (value.is_null()) {
        out << YAML::Null;
    } else {
        out << value.dump();
    }
}

} // namespace

Result<Document> parse_document(const std::string& text, const std::string& name, std::size_t nodes_max) {
    try {
        const std::vector<YAML::Node> documents = YAML::LoadAll(text);
        if (documents.size() != 1) {
            return Error{
                ErrorCode::invalid_argument, fmt::format("one document is expected, not {}", documents.size()), name};
        }
        Converter converter{name, nodes_max};
        Json value = converter.convert(documents.front(), "");
        if (converter.error) {
            return *converter.error;
        }
        return Document{std::move(value), std::move(converter.places)};
    } catch (const YAML::Exception& problem) {
        // yaml-cpp reports syntax errors only as exceptions; this is the one place that turns them into a refusal.
        return Error{ErrorCode::invalid_argument, problem.msg, place_of(name, problem.mark)};
    }
}

Result<Document> read_document(const std::filesystem::path& file) {
    auto text = read_file(file, 1U << 20U);
    if (!text) {
        return std::move(text).error();
    }
    return parse_document(*text, file.string());
}

std::string to_yaml(const Json& value) {
    YAML::Emitter out;
    emit(out, value);
    return std::string{out.c_str()} + "\n";
}

} // namespace muster::wire
