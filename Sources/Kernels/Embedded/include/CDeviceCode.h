// The files of Sources/Kernels/DeviceCode, as this program carries them.
#ifndef CDEVICECODE_H
#define CDEVICECODE_H

#include <stddef.h>

size_t tessera_device_file_count(void);
const char *tessera_device_file_name(size_t index);
const char *tessera_device_file_text(size_t index);

#endif
