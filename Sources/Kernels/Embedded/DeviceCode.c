// The device code as bytes of the program: the list here is all there is (a test compares it with the
// folder).
#include "CDeviceCode.h"

static const char text_Async_cuh[] = {
#embed "../DeviceCode/Async.cuh"
, 0};
static const char text_BasisGradient_cu[] = {
#embed "../DeviceCode/BasisGradient.cu"
, 0};
static const char text_Clear_cu[] = {
#embed "../DeviceCode/Clear.cu"
, 0};
static const char text_DecodeTiles_cuh[] = {
#embed "../DeviceCode/DecodeTiles.cuh"
, 0};
static const char text_Element_cuh[] = {
#embed "../DeviceCode/Element.cuh"
, 0};
static const char text_EncodeTiles_cuh[] = {
#embed "../DeviceCode/EncodeTiles.cuh"
, 0};
static const char text_Fragments_cuh[] = {
#embed "../DeviceCode/Fragments.cuh"
, 0};
static const char text_Output_cuh[] = {
#embed "../DeviceCode/Output.cuh"
, 0};
static const char text_PackPlanes_cu[] = {
#embed "../DeviceCode/PackPlanes.cu"
, 0};
static const char text_Planes_cuh[] = {
#embed "../DeviceCode/Planes.cuh"
, 0};
static const char text_Rank_cuh[] = {
#embed "../DeviceCode/Rank.cuh"
, 0};
static const char text_RowMap_cuh[] = {
#embed "../DeviceCode/RowMap.cuh"
, 0};
static const char text_Schedule_cuh[] = {
#embed "../DeviceCode/Schedule.cuh"
, 0};
static const char text_SideWork_cuh[] = {
#embed "../DeviceCode/SideWork.cuh"
, 0};
static const char text_StrassenDecode_cu[] = {
#embed "../DeviceCode/StrassenDecode.cu"
, 0};
static const char text_StrassenEncode_cu[] = {
#embed "../DeviceCode/StrassenEncode.cu"
, 0};
static const char text_StrassenProducts_cu[] = {
#embed "../DeviceCode/StrassenProducts.cu"
, 0};
static const char text_TensorCore_cuh[] = {
#embed "../DeviceCode/TensorCore.cuh"
, 0};
static const char text_Warpgroup_cuh[] = {
#embed "../DeviceCode/Warpgroup.cuh"
, 0};

static const struct {
  const char *name, *text;
} files[] = {
  {"Async.cuh", text_Async_cuh},
  {"BasisGradient.cu", text_BasisGradient_cu},
  {"Clear.cu", text_Clear_cu},
  {"DecodeTiles.cuh", text_DecodeTiles_cuh},
  {"Element.cuh", text_Element_cuh},
  {"EncodeTiles.cuh", text_EncodeTiles_cuh},
  {"Fragments.cuh", text_Fragments_cuh},
  {"Output.cuh", text_Output_cuh},
  {"PackPlanes.cu", text_PackPlanes_cu},
  {"Planes.cuh", text_Planes_cuh},
  {"Rank.cuh", text_Rank_cuh},
  {"RowMap.cuh", text_RowMap_cuh},
  {"Schedule.cuh", text_Schedule_cuh},
  {"SideWork.cuh", text_SideWork_cuh},
  {"StrassenDecode.cu", text_StrassenDecode_cu},
  {"StrassenEncode.cu", text_StrassenEncode_cu},
  {"StrassenProducts.cu", text_StrassenProducts_cu},
  {"TensorCore.cuh", text_TensorCore_cuh},
  {"Warpgroup.cuh", text_Warpgroup_cuh},
};

size_t tessera_device_file_count(void) { return sizeof files / sizeof *files; }

const char *tessera_device_file_name(size_t index) { return files[index].name; }

const char *tessera_device_file_text(size_t index) { return files[index].text; }
