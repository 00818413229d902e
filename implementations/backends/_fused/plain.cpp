// The kernels for every processor; the compiler makes of each register what there is.
#define NAMESPACE plain
#include "kernels.h"
