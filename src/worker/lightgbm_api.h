/// The functions of LightGBM's C API that we call: its wheel has the library and no headers.
///
/// Declarations after LightGBM 4.7.0, include/LightGBM/c_api.h and meta.h: Copyright (c) Microsoft Corporation and the
/// LightGBM developers, MIT license. The contract of the C ABI is that of version 4; the two hooks take a C++
/// reference to a function pointer, hence need a compiler with the same C++ ABI.
///
/// Every function returns 0, or -1 and LGBM_GetLastError() says why, for this thread.
#pragma once

#include <cstdint>

namespace muster::worker::lightgbm {

/// output = output + input, or another reduction, over `bytes` of elements of `type_size`.
using ReduceFunction = void (*)(const char* input, char* output, int type_size, std::int32_t bytes);
/// Block r of all ranks' inputs, reduced, becomes output[0 .. block_length[r]) of rank r.
using ReduceScatterHook = void (*)(char* input,
                                   std::int32_t input_size,
                                   int type_size,
                                   const std::int32_t* block_start,
                                   const std::int32_t* block_length,
                                   int blocks,
                                   char* output,
                                   std::int32_t output_size,
                                   const ReduceFunction& reduce);
/// Rank r's input becomes output[block_start[r] ..) of all ranks. `input` may be `output`.
using AllGatherHook = void (*)(char* input,
                               std::int32_t input_size,
                               const std::int32_t* block_start,
                               const std::int32_t* block_length,
                               int blocks,
                               char* output,
                               std::int32_t output_size);

inline constexpr int type_float32 = 0;
inline constexpr int type_float64 = 1;
inline constexpr int predict_raw_score = 1;
inline constexpr int importance_split = 0;

// NOLINTBEGIN(readability-identifier-naming): LightGBM's names
extern "C" {
const char* LGBM_GetLastError();
int LGBM_RegisterLogCallback(void (*callback)(const char*));

int LGBM_NetworkInitWithFunctions(int machines, int rank, void* reduce_scatter, void* all_gather);
int LGBM_NetworkFree();

int LGBM_DatasetCreateFromSampledColumn(double** values,
                                        int** rows,
                                        std::int32_t columns,
                                        const int* values_of_column,
                                        std::int32_t sampled_rows,
                                        std::int32_t local_rows,
                                        std::int64_t all_rows,
                                        const char* parameters,
                                        void** dataset);
int LGBM_DatasetSerializeReferenceToBinary(void* dataset, void** buffer, std::int32_t* bytes);
int LGBM_ByteBufferGetAt(void* buffer, std::int32_t index, std::uint8_t* value);
int LGBM_ByteBufferFree(void* buffer);
int LGBM_DatasetCreateFromSerializedReference(const void* buffer,
                                              std::int32_t bytes,
                                              std::int64_t rows,
                                              std::int32_t classes,
                                              const char* parameters,
                                              void** dataset);
int LGBM_DatasetPushRows(
    void* dataset, const void* values, int type, std::int32_t rows, std::int32_t columns, std::int32_t first_row);
int LGBM_DatasetGetFeatureNumBin(void* dataset, int column, int* bins);
int LGBM_DatasetFree(void* dataset);

int LGBM_BoosterCreate(void* dataset, const char* parameters, void** booster);
int LGBM_BoosterLoadModelFromString(const char* text, int* iterations, void** booster);
/// Puts the trees of `other` before those of `booster`.
int LGBM_BoosterMerge(void* booster, void* other);
int LGBM_BoosterUpdateOneIterCustom(void* booster, const float* gradients, const float* hessians, int* finished);
int LGBM_BoosterGetPredict(void* booster, int data, std::int64_t* count, double* scores);
int LGBM_BoosterSetLeafValue(void* booster, int tree, int leaf, double value);
int LGBM_BoosterSaveModelToString(void* booster,
                                  int first_iteration,
                                  int iterations,
                                  int importance,
                                  std::int64_t capacity,
                                  std::int64_t* size,
                                  char* text);
int LGBM_BoosterLoadModelFromString(const char* text, int* iterations, void** booster);
int LGBM_BoosterPredictForMat(void* booster,
                              const void* values,
                              int type,
                              std::int32_t rows,
                              std::int32_t columns,
                              int row_major,
                              int predict,
                              int first_iteration,
                              int iterations,
                              const char* parameters,
                              std::int64_t* count,
                              double* scores);
int LGBM_BoosterFree(void* booster);
}
// NOLINTEND(readability-identifier-naming)

} // namespace muster::worker::lightgbm
