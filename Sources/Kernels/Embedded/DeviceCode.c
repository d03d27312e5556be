// The device code as bytes of the program: the list here is all there is (a test compares it with the
// folder).
#include "CDeviceCode.h"

static const char text_Activation_cuh[] = {
#embed "../DeviceCode/Activation.cuh"
, 0};
static const char text_Async_cuh[] = {
#embed "../DeviceCode/Async.cuh"
, 0};
static const char text_BasisGradient_cu[] = {
#embed "../DeviceCode/BasisGradient.cu"
, 0};
static const char text_Element_cuh[] = {
#embed "../DeviceCode/Element.cuh"
, 0};
static const char text_Factors_BlockGradient_cu[] = {
#embed "../DeviceCode/Factors/BlockGradient.cu"
, 0};
static const char text_Factors_Epilogue_cuh[] = {
#embed "../DeviceCode/Factors/Epilogue.cuh"
, 0};
static const char text_Factors_Fragments16_cuh[] = {
#embed "../DeviceCode/Factors/Fragments16.cuh"
, 0};
static const char text_Factors_Kronecker_cu[] = {
#embed "../DeviceCode/Factors/Kronecker.cu"
, 0};
static const char text_Factors_KroneckerGroups_cu[] = {
#embed "../DeviceCode/Factors/KroneckerGroups.cu"
, 0};
static const char text_Factors_KroneckerGroupsCopies_cuh[] = {
#embed "../DeviceCode/Factors/KroneckerGroupsCopies.cuh"
, 0};
static const char text_Factors_KroneckerGroupsOutputs_cuh[] = {
#embed "../DeviceCode/Factors/KroneckerGroupsOutputs.cuh"
, 0};
static const char text_Factors_KroneckerGroupsPack_cu[] = {
#embed "../DeviceCode/Factors/KroneckerGroupsPack.cu"
, 0};
static const char text_Factors_KroneckerGroupsRows_cuh[] = {
#embed "../DeviceCode/Factors/KroneckerGroupsRows.cuh"
, 0};
static const char text_Factors_KroneckerGroupsShape_cuh[] = {
#embed "../DeviceCode/Factors/KroneckerGroupsShape.cuh"
, 0};
static const char text_Factors_KroneckerPack_cu[] = {
#embed "../DeviceCode/Factors/KroneckerPack.cu"
, 0};
static const char text_Factors_KroneckerShape_cuh[] = {
#embed "../DeviceCode/Factors/KroneckerShape.cuh"
, 0};
static const char text_Factors_Pair_cu[] = {
#embed "../DeviceCode/Factors/Pair.cu"
, 0};
static const char text_Factors_PairExchange_cuh[] = {
#embed "../DeviceCode/Factors/PairExchange.cuh"
, 0};
static const char text_Factors_PairGroups_cu[] = {
#embed "../DeviceCode/Factors/PairGroups.cu"
, 0};
static const char text_Factors_PairGroupsBlock_cuh[] = {
#embed "../DeviceCode/Factors/PairGroupsBlock.cuh"
, 0};
static const char text_Factors_PairGroupsFirst_cuh[] = {
#embed "../DeviceCode/Factors/PairGroupsFirst.cuh"
, 0};
static const char text_Factors_PairGroupsPack_cu[] = {
#embed "../DeviceCode/Factors/PairGroupsPack.cu"
, 0};
static const char text_Factors_PairGroupsLowRank_cuh[] = {
#embed "../DeviceCode/Factors/PairGroupsLowRank.cuh"
    , 0};
static const char text_Factors_PairGroupsSecond_cuh[] = {
#embed "../DeviceCode/Factors/PairGroupsSecond.cuh"
, 0};
static const char text_Factors_PairGroupsSend_cuh[] = {
#embed "../DeviceCode/Factors/PairGroupsSend.cuh"
, 0};
static const char text_Factors_PairGroupsShape_cuh[] = {
#embed "../DeviceCode/Factors/PairGroupsShape.cuh"
, 0};
static const char text_Factors_PairPack_cu[] = {
#embed "../DeviceCode/Factors/PairPack.cu"
, 0};
static const char text_Factors_PairShape_cuh[] = {
#embed "../DeviceCode/Factors/PairShape.cuh"
, 0};
static const char text_Factors_PairUnits_cuh[] = {
#embed "../DeviceCode/Factors/PairUnits.cuh"
, 0};
static const char text_Factors_Turn_cu[] = {
#embed "../DeviceCode/Factors/Turn.cu"
, 0};
static const char text_Output_cuh[] = {
#embed "../DeviceCode/Output.cuh"
, 0};
static const char text_Rank_cuh[] = {
#embed "../DeviceCode/Rank.cuh"
, 0};
static const char text_RowMap_cuh[] = {
#embed "../DeviceCode/RowMap.cuh"
, 0};
static const char text_StrassenDecode_cu[] = {
#embed "../DeviceCode/StrassenDecode.cu"
, 0};
static const char text_StrassenEncode_cu[] = {
#embed "../DeviceCode/StrassenEncode.cu"
, 0};
static const char text_TensorCore_cuh[] = {
#embed "../DeviceCode/TensorCore.cuh"
, 0};
static const char text_TensorMap_cuh[] = {
#embed "../DeviceCode/TensorMap.cuh"
, 0};
static const char text_TileInput_cuh[] = {
#embed "../DeviceCode/TileInput.cuh"
, 0};
static const char text_Training_AdamW_cu[] = {
#embed "../DeviceCode/Training/AdamW.cu"
, 0};
static const char text_Training_ColumnSum_cu[] = {
#embed "../DeviceCode/Training/ColumnSum.cu"
, 0};
static const char text_Training_CrossEntropy_cu[] = {
#embed "../DeviceCode/Training/CrossEntropy.cu"
, 0};
static const char text_Training_Elementwise_cu[] = {
#embed "../DeviceCode/Training/Elementwise.cu"
, 0};
static const char text_Training_List_cuh[] = {
#embed "../DeviceCode/Training/List.cuh"
, 0};
static const char text_Training_NormGradient_cu[] = {
#embed "../DeviceCode/Training/NormGradient.cu"
, 0};
static const char text_Training_SquareSum_cu[] = {
#embed "../DeviceCode/Training/SquareSum.cu"
, 0};
static const char text_Training_Vector_cuh[] = {
#embed "../DeviceCode/Training/Vector.cuh"
, 0};
static const char text_Warpgroup_cuh[] = {
#embed "../DeviceCode/Warpgroup.cuh"
, 0};

static const struct {
  const char *name, *text;
} files[] = {
  {"Activation.cuh", text_Activation_cuh},
  {"Async.cuh", text_Async_cuh},
  {"BasisGradient.cu", text_BasisGradient_cu},
  {"Element.cuh", text_Element_cuh},
  {"Factors/BlockGradient.cu", text_Factors_BlockGradient_cu},
  {"Factors/Epilogue.cuh", text_Factors_Epilogue_cuh},
  {"Factors/Fragments16.cuh", text_Factors_Fragments16_cuh},
  {"Factors/Kronecker.cu", text_Factors_Kronecker_cu},
  {"Factors/KroneckerGroups.cu", text_Factors_KroneckerGroups_cu},
  {"Factors/KroneckerGroupsCopies.cuh", text_Factors_KroneckerGroupsCopies_cuh},
  {"Factors/KroneckerGroupsOutputs.cuh", text_Factors_KroneckerGroupsOutputs_cuh},
  {"Factors/KroneckerGroupsPack.cu", text_Factors_KroneckerGroupsPack_cu},
  {"Factors/KroneckerGroupsRows.cuh", text_Factors_KroneckerGroupsRows_cuh},
  {"Factors/KroneckerGroupsShape.cuh", text_Factors_KroneckerGroupsShape_cuh},
  {"Factors/KroneckerPack.cu", text_Factors_KroneckerPack_cu},
  {"Factors/KroneckerShape.cuh", text_Factors_KroneckerShape_cuh},
  {"Factors/Pair.cu", text_Factors_Pair_cu},
  {"Factors/PairExchange.cuh", text_Factors_PairExchange_cuh},
  {"Factors/PairGroups.cu", text_Factors_PairGroups_cu},
  {"Factors/PairGroupsBlock.cuh", text_Factors_PairGroupsBlock_cuh},
  {"Factors/PairGroupsFirst.cuh", text_Factors_PairGroupsFirst_cuh},
  {"Factors/PairGroupsPack.cu", text_Factors_PairGroupsPack_cu},
  {"Factors/PairGroupsLowRank.cuh", text_Factors_PairGroupsLowRank_cuh},
  {"Factors/PairGroupsSecond.cuh", text_Factors_PairGroupsSecond_cuh},
  {"Factors/PairGroupsSend.cuh", text_Factors_PairGroupsSend_cuh},
  {"Factors/PairGroupsShape.cuh", text_Factors_PairGroupsShape_cuh},
  {"Factors/PairPack.cu", text_Factors_PairPack_cu},
  {"Factors/PairShape.cuh", text_Factors_PairShape_cuh},
  {"Factors/PairUnits.cuh", text_Factors_PairUnits_cuh},
  {"Factors/Turn.cu", text_Factors_Turn_cu},
  {"Output.cuh", text_Output_cuh},
  {"Rank.cuh", text_Rank_cuh},
  {"RowMap.cuh", text_RowMap_cuh},
  {"StrassenDecode.cu", text_StrassenDecode_cu},
  {"StrassenEncode.cu", text_StrassenEncode_cu},
  {"TensorCore.cuh", text_TensorCore_cuh},
  {"TensorMap.cuh", text_TensorMap_cuh},
  {"TileInput.cuh", text_TileInput_cuh},
  {"Training/AdamW.cu", text_Training_AdamW_cu},
  {"Training/ColumnSum.cu", text_Training_ColumnSum_cu},
  {"Training/CrossEntropy.cu", text_Training_CrossEntropy_cu},
  {"Training/Elementwise.cu", text_Training_Elementwise_cu},
  {"Training/List.cuh", text_Training_List_cuh},
  {"Training/NormGradient.cu", text_Training_NormGradient_cu},
  {"Training/SquareSum.cu", text_Training_SquareSum_cu},
  {"Training/Vector.cuh", text_Training_Vector_cuh},
  {"Warpgroup.cuh", text_Warpgroup_cuh},
};

size_t tessera_device_file_count(void) { return sizeof files / sizeof *files; }

const char *tessera_device_file_name(size_t index) { return files[index].name; }

const char *tessera_device_file_text(size_t index) { return files[index].text; }
