// What every processor runs: four floats a vector, which x86-64 and ARM64 always have.
#include "Levels.h"

#define LANES 4
#define HEIGHT 6
#define NAME tessera_level_portable
#include "Level.inc.h"
