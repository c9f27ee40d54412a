// The single file of docs/phones.md on iOS: https://github.com/microsoft/onnxruntime-swift-package-manager,
// face.onnx in the bundle. Not run on a phone by us.

let noise = 40  // s2f.noise_size of the file
let env = try ORTEnv(loggingLevel: .warning)
let session = try ORTSession(env: env, modelPath: Bundle.main.path(forResource: "face", ofType: "onnx")!, sessionOptions: nil)

func face(_ speech: [Float]) throws -> Data? {
    func value<T>(_ numbers: [T], _ type: ORTTensorElementDataType, _ shape: [NSNumber]) throws -> ORTValue {
        let data = numbers.withUnsafeBytes { NSMutableData(bytes: $0.baseAddress, length: $0.count) }
        return try ORTValue(tensorData: data, elementType: type, shape: shape)
    }
    let found = try session.run(
        withInputs: [
            "waveform": value(speech, .float, [NSNumber(value: speech.count)]),
            "generator": value([Int32(0)], .int32, [1]),
            "noise": value([Float](repeating: 0, count: noise), .float, [1, NSNumber(value: noise)]),
        ],
        outputNames: ["faces", "speech_probability"], runOptions: nil)
    let speaks = try found["speech_probability"]!.tensorData().bytes.load(as: Float.self)
    return speaks < 0.5 ? nil : try found["faces"]!.tensorData() as Data  // s2f.face_size squared x RGB
}
