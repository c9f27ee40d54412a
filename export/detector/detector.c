/* What a browser calls, and the few functions of a C library that WebRTC's detector needs. */
#include <stddef.h>
#include <stdint.h>

#include "webrtc/common_audio/signal_processing/include/signal_processing_library.h"
#include "webrtc/common_audio/vad/vad_core.h"
#include "webrtc/common_audio/vad/include/webrtc_vad.h"

#define EXPORT(name) __attribute__((export_name(name)))

static VadInstT detector;
static int16_t frame[320];  /* 20 ms at 16 kHz */

EXPORT("frame") int16_t* frame_address(void) { return frame; }

EXPORT("start") int start(int mode) {
  WebRtcSpl_Init();
  return WebRtcVad_InitCore(&detector) || WebRtcVad_set_mode_core(&detector, mode);
}

EXPORT("hear") int hear(void) { return WebRtcVad_Process((VadInst*)&detector, 16000, frame, 320); }

void* memcpy(void* to, const void* from, size_t count) {
  char* target = to;
  const char* source = from;
  while (count--) *target++ = *source++;
  return to;
}

void* memset(void* to, int value, size_t count) {
  char* target = to;
  while (count--) *target++ = (char)value;
  return to;
}

/* WebRtcVad_Create and _Free, which nothing here calls, want these. */
void* malloc(size_t size) { (void)size; return 0; }
void free(void* gone) { (void)gone; }
