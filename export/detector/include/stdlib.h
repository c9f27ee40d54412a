#include <stddef.h>
void* malloc(size_t);
void free(void*);
static inline int abs(int value) { return value < 0 ? -value : value; }
