#include "app/muster/request_file.h"

#include "wire/document.h"

namespace muster::app {
namespace {

std::string beside(const std::string& request_dn, const std::string& class_name) {
    const auto comma = request_dn.rfind(',');
    const auto equals = request_dn.rfind('=');
    return request_dn.substr(0, comma + 1) + class_name + request_dn.substr(equals);
}

} // namespace

Result<Client> open_client(const Context& context) {
    auto settings = load_client(context.client_file);
    if (!settings) {
        return std::move(settings).error();
    }
    return Client::open(*settings);
}

Result<nlohmann::json> read_request(const std::string& file) {
    auto document = wire::read_document(file);
    if (!document) {
        return std::move(document).error();
    }
    if (!document->value.is_object()) {
        return Error{ErrorCode::invalid_argument, "the attributes of an MLTrainingRequest are expected", file + ":1:1"};
    }
    // The wire form {id, objectClass, attributes} is accepted as well as the bare attributes.
    return document->value.contains("attributes") ? document->value["attributes"] : document->value;
}

Result<std::string> find_request(Client& client, const std::string& id) {
    if (id.find('=') != std::string::npos) {
        return id;
    }
    auto objects = client.objects("SubNetwork=1");
    if (!objects) {
        return std::move(objects).error();
    }
    std::vector<std::string> ids;
    for (const nlohmann::json& object : *objects) {
        const std::string class_name = object.value("objectClass", "");
        if (class_name != "MLTrainingRequest" && class_name != "MLTrainingProcess") {
            continue;
        }
        if (object.value("id", "") == id) {
            return beside(object.value("objectInstance", ""), "MLTrainingRequest");
        }
        ids.push_back(object.value("id", ""));
    }
    Error error{ErrorCode::not_found, "there is no request \"" + id + "\""};
    error.nearest = nearest_of(id, ids);
    return error;
}

std::string process_of(const std::string& request_dn) {
    return beside(request_dn, "MLTrainingProcess");
}

std::string report_of(const std::string& request_dn) {
    return beside(request_dn, "MLTrainingReport");
}

} // namespace muster::app
