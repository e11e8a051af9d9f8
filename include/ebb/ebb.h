/* Ebb: static computation graphs with reverse-mode differentiation. Everything a user of the
 * library needs; those who write ops or backends find their contracts in op.h and backend.h. */
#ifndef EBB_EBB_H
#define EBB_EBB_H

#include <ebb/compile.h>
#include <ebb/io.h>
#include <ebb/model.h>
#include <ebb/nn.h>
#include <ebb/profile.h>
#include <ebb/training.h>

#endif
