/// RemoteStore: c10d's store, kept at rank 0 and asked over mutual TLS 1.3.
#pragma once

#include "process_group/membership.h"
#include "process_group/store_messages.h"
#include "process_group/store_server.h"

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace muster::process_group {

class StoreChannel;

/// Safe from any thread; requests of several threads travel on connections of their own, so that one that waits holds
/// up no other. Throws c10::DistStoreError: when keys did not come within the time-out, naming them; when rank 0 cannot
/// be reached, is not who it must be, or refuses, in its words. Keys and values together are bounded
/// (store_body_bytes_max of one request, store_table_bytes_max of all).
class RemoteStore final : public c10d::Store {
public:
    using c10d::Store::compareSet;
    using c10d::Store::set;

    /// Connects to the store of rank 0 at `address`, "host:port", trying until `timeout`, which is also the time-out of
    /// later waits. `server` is kept as long as this store or a clone of it: rank 0's own.
    RemoteStore(Membership membership,
                std::string address,
                std::chrono::milliseconds timeout,
                std::shared_ptr<StoreServer> server = {});
    ~RemoteStore() override;

    /// A random text that rank 0's server has drawn: the same for all its clients, another for another server.
    [[nodiscard]] const std::string& session() const;
    /// This machine's address on the way to rank 0, without a port: where peers can be expected to reach it.
    [[nodiscard]] const std::string& own_host() const;
    [[nodiscard]] const Membership& membership() const;

    c10::intrusive_ptr<Store> clone() override;
    void set(const std::string& key, const std::vector<uint8_t>& value) override;
    std::vector<uint8_t> compareSet(const std::string& key,
                                    const std::vector<uint8_t>& expected,
                                    const std::vector<uint8_t>& wanted) override;
    std::vector<uint8_t> get(const std::string& key) override;
    int64_t add(const std::string& key, int64_t value) override;
    bool deleteKey(const std::string& key) override;
    bool check(const std::vector<std::string>& keys) override;
    int64_t getNumKeys() override;
    void wait(const std::vector<std::string>& keys) override;
    void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) override;
    void append(const std::string& key, const std::vector<uint8_t>& value) override;
    std::vector<std::vector<uint8_t>> multiGet(const std::vector<std::string>& keys) override;
    void multiSet(const std::vector<std::string>& keys, const std::vector<std::vector<uint8_t>>& values) override;
    bool hasExtendedApi() const override { return true; }
    void queuePush(const std::string& key, const std::vector<uint8_t>& value) override;
    std::vector<uint8_t> queuePop(const std::string& key, bool block) override;
    int64_t queueLen(const std::string& key) override;
    std::vector<std::string> listKeys() override;

private:
    RemoteStore(std::shared_ptr<StoreChannel> channel, std::chrono::milliseconds timeout);
    std::vector<std::string> ask(StoreRequestKind kind, std::vector<std::string> parts);
    std::vector<std::string>
    ask(StoreRequestKind kind, std::vector<std::string> parts, std::chrono::milliseconds patience);

    std::shared_ptr<StoreChannel> channel_;
};

} // namespace muster::process_group
