// Each request computes the same; the kernel is named on the command line of the compiler.
#include "bext.h"
#include "../kernels/kernels.c"

BEXT_ON_REQUEST() { return KERNEL == EXPECTED ? BEXT_CONTINUE : BEXT_FAILED; }
