typedef int pthread_once_t;
#define PTHREAD_ONCE_INIT 0
static inline int pthread_once(pthread_once_t* done, void (*begin)(void)) {
  if (!*done) { *done = 1; begin(); }
  return 0;
}
