// The single file of docs/phones.md in Flutter: the package flutter_onnxruntime, face.onnx in assets/.
// Not run on a phone by us.

const noise = 40; // s2f.noise_size of the file
final session = await OnnxRuntime().createSessionFromAsset('assets/face.onnx');

Future<List?> face(Float32List speech) async {
  final found = await session.run({
    'waveform': await OrtValue.fromList(speech, [speech.length]),
    'generator': await OrtValue.fromList(Int32List(1), [1]),
    'noise': await OrtValue.fromList(Float32List(noise), [1, noise]),
  });
  final speaks = await found['speech_probability']!.asFlattenedList();
  return speaks[0] < 0.5 ? null : await found['faces']!.asFlattenedList(); // s2f.face_size squared x RGB
}
