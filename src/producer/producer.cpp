#include "producer/producer.h"

#include "producer/calibrations.h"
#include "producer/fleet.h"
#include "producer/object_tree.h"
#include "producer/producer_services.h"
#include "producer/recipes.h"
#include "producer/records.h"

#include <utility>

namespace muster::producer {
namespace {

constexpr auto meta_kind = "meta";
constexpr auto epoch_key = "epoch";

Result<nrm::Dn> named(const std::string& text, const char* setting, const char* class_name) {
    auto dn = nrm::Dn::parse(text);
    if (!dn) {
        return std::move(dn).error().within(setting);
    }
    if (dn->leaf().class_name != class_name) {
        return Error{
            ErrorCode::invalid_argument, "\"" + text + "\" must be the name of a " + std::string{class_name}, setting};
    }
    return dn;
}

Result<std::int64_t> next_epoch(Store& store) {
    const auto record = store.read(meta_kind, epoch_key);
    const std::int64_t epoch = record ? nrm::Json::parse(record->body).at("epoch").get<std::int64_t>() + 1 : 1;
    const Write write{.kind = meta_kind,
                      .key = epoch_key,
                      .body = nrm::Json{{"epoch", epoch}}.dump(),
                      .expected = record ? record->version : 0};
    if (auto done = store.commit(std::span{&write, 1}); !done) {
        return std::move(done).error().within("another producer uses this store");
    }
    return epoch;
}

/// The objects that are always there: the network, our own entry, the repository.
Result<void> create_roots(ObjectTree& tree, const Settings& settings) {
    const auto root = named(settings.root, "root", "SubNetwork");
    const auto own = named(settings.own_function, "own_function", "MLTrainingFunction");
    const auto repository = named(settings.repository, "repository", "MLModelRepository");
    for (const auto* name : {&root, &own, &repository}) {
        if (!*name) {
            return name->error();
        }
    }
    if (root->depth() != 1 || own->depth() != 2 || !own->within(*root) || repository->depth() != 2 ||
        !repository->within(*root)) {
        return Error{ErrorCode::invalid_argument,
                     "own_function and repository must be directly below root, a single SubNetwork"};
    }
    return tree.transact(Origin::producer, [&](Transaction& transaction) -> Result<void> {
        if (transaction.find(*root) == nullptr) {
            transaction.create(*root, nrm::Json::object());
        }
        transaction.put(*own, function_attributes({}, settings.repository));
        transaction.put(*repository, nrm::Json::object());
        return {};
    });
}

} // namespace

struct Producer::Parts {
    Parts(World world, Settings given)
        : settings{std::move(given)}, function_trust{std::move(world.function_trust)}, outbox{world.store, settings},
          tree{world.store, outbox, world.clock}, recipes{world.store, world.clock, world.artefacts},
          calibrations{world.store}, fleet{tree, world.link, world.clock, settings}, desk{.tree = tree,
                                                                                          .store = world.store,
                                                                                          .fleet = fleet,
                                                                                          .link = world.link,
                                                                                          .calibrations = calibrations,
                                                                                          .artefacts = world.artefacts,
                                                                                          .job_authority =
                                                                                              world.job_authority,
                                                                                          .function_trust =
                                                                                              function_trust,
                                                                                          .clock = world.clock,
                                                                                          .settings = settings},
          loop{desk}, management{{tree, world.store, recipes, loop, world.artefacts, world.clock, settings}},
          services{{recipes, outbox, loop, desk}} {}

    Settings settings;
    std::string function_trust;
    Outbox outbox;
    ObjectTree tree;
    Recipes recipes;
    Calibrations calibrations;
    Fleet fleet;
    Desk desk;
    Reconcile loop;
    TreeManagement management;
    ProducerServices services;
    std::int64_t epoch{};
};

Producer::Producer(std::unique_ptr<Parts> parts) : parts_{std::move(parts)} {}
Producer::~Producer() = default;

Result<std::unique_ptr<Producer>> Producer::open(World world, Settings settings) {
    if (world.function_trust.empty()) {
        return Error{ErrorCode::invalid_argument, "without the CA of the functions no agreement can be checked"};
    }
    auto parts = std::make_unique<Parts>(world, std::move(settings));
    auto epoch = next_epoch(world.store);
    if (!epoch) {
        return std::move(epoch).error();
    }
    parts->epoch = *epoch;
    parts->outbox.load();
    if (auto done = parts->tree.load(); !done) {
        return std::move(done).error();
    }
    if (auto done = create_roots(parts->tree, parts->settings); !done) {
        return std::move(done).error();
    }
    if (auto done = parts->recipes.load(); !done) {
        return std::move(done).error();
    }
    parts->fleet.load();
    if (auto done = parts->loop.load(); !done) {
        return std::move(done).error();
    }
    return std::unique_ptr<Producer>{new Producer{std::move(parts)}};
}

ManagedObjects& Producer::objects() {
    return parts_->management;
}
Services& Producer::services() {
    return parts_->services;
}
FunctionEvents& Producer::events() {
    return parts_->loop;
}
Outbox& Producer::outbox() {
    return parts_->outbox;
}
Reconcile& Producer::loop() {
    return parts_->loop;
}
std::int64_t Producer::epoch() const {
    return parts_->epoch;
}

} // namespace muster::producer
