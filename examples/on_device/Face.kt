// The single file of docs/phones.md on Android: implementation("com.microsoft.onnxruntime:onnxruntime-android:1.22.0"),
// face.onnx in assets/. AudioRecord gives 16 kHz; divide 16-bit samples by 32768. Not run on a phone by us.

const val NOISE = 40  // s2f.noise_size of the file
const val SIDE = 256  // s2f.face_size
val env = OrtEnvironment.getEnvironment()
val session = env.createSession(context.assets.open("face.onnx").readBytes())

fun face(speech: FloatArray): Bitmap? {
    val inputs = mapOf(
        "waveform" to OnnxTensor.createTensor(env, FloatBuffer.wrap(speech), longArrayOf(speech.size.toLong())),
        "generator" to OnnxTensor.createTensor(env, IntBuffer.wrap(intArrayOf(0)), longArrayOf(1)),
        "noise" to OnnxTensor.createTensor(env, FloatBuffer.allocate(NOISE), longArrayOf(1, NOISE.toLong())),
    )
    session.run(inputs).use { found ->
        val speaks = (found["speech_probability"].get() as OnnxTensor).floatBuffer[0]
        if (speaks < 0.5f) return null
        val rgb = (found["faces"].get() as OnnxTensor).byteBuffer
        val pixels = IntArray(SIDE * SIDE) {
            Color.rgb(rgb[3 * it].toInt() and 255, rgb[3 * it + 1].toInt() and 255, rgb[3 * it + 2].toInt() and 255)
        }
        return Bitmap.createBitmap(pixels, SIDE, SIDE, Bitmap.Config.ARGB_8888)
    }
}
