/** Runs in the audio thread: hands the microphone's samples to the page, 2048 at a time. */

const SIZE = 2048;

class Pcm extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(SIZE);
    this.filled = 0;
    this.port.onmessage = () => this.flush(true); // the page asks for the rest
  }

  process([channels]) {
    const samples = channels[0];
    if (!samples) return true; // nothing is connected at the moment
    for (const sample of samples) {
      this.block[this.filled++] = sample;
      if (this.filled === SIZE) this.flush(false);
    }
    return true;
  }

  flush(last) {
    const samples = this.block.slice(0, this.filled);
    this.filled = 0;
    this.port.postMessage({ samples, last }, [samples.buffer]);
  }
}

registerProcessor("pcm", Pcm);
