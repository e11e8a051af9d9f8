/* What this machine can do: the limits that a profile is compared with. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <ebb/profile.h>

/* Measures for about half a second: F32 multiply-adds in registers with the widest vectors there
 * are, and the fastest mix of reads and writes between memory and cores (bandwidth.h). Errors:
 * OUT_OF_MEMORY. */
EBB_NODISCARD ebb_status machine_measure(int n_threads, ebb_machine_limits *limits);

#endif
