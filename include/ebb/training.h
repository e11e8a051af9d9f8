/* What stands around a graph to train it. */
#ifndef EBB_TRAINING_H
#define EBB_TRAINING_H

#include <ebb/compile.h>
#include <ebb/data.h>
#include <ebb/nn.h>

#endif
