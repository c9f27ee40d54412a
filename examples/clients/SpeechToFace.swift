// A face for a voice, from an s2f service. URLSession alone: iOS 15, macOS 12 or newer, or Linux.
// The face is invented. It is not the speaker and identifies nobody; say so wherever you show it.

import Foundation
#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

/// What the service refused or failed to do. Test for `code`; `detail` is a sentence for people.
struct Problem: Error, Decodable {
    let code: String
    let detail: String
}

struct SpeechToFace {
    let server: URL
    /// An API key, where the server needs one.
    var key: String?

    /// The bytes of a PNG for a recording (wav, flac, ogg, opus, mp3, ...) of one person who speaks.
    ///
    /// `gender` is auto, general, male or female. Throws `Problem` where the service says why there is
    /// no face, such as `not-speech` or `busy`, and `URLError` where it cannot be reached.
    func face(recording: Data, gender: String = "auto") async throws -> Data {
        let boundary = UUID().uuidString
        var request = URLRequest(url: server.appendingPathComponent("v1/face"))
        request.httpMethod = "POST"
        request.timeoutInterval = 60
        request.setValue("multipart/form-data; boundary=\(boundary)", forHTTPHeaderField: "Content-Type")
        if let key = key {
            request.setValue("Bearer \(key)", forHTTPHeaderField: "Authorization")
        }
        var form = Data("--\(boundary)\r\nContent-Disposition: form-data; name=\"gender\"\r\n\r\n\(gender)\r\n".utf8)
        form += Data("--\(boundary)\r\n".utf8)
        form += Data("Content-Disposition: form-data; name=\"file\"; filename=\"recording\"\r\n\r\n".utf8)
        form += recording + Data("\r\n--\(boundary)--\r\n".utf8)

        let (body, response) = try await URLSession.shared.upload(for: request, from: form)
        let status = (response as! HTTPURLResponse).statusCode
        if status == 200 {
            return body
        }
        let said = try? JSONDecoder().decode(Problem.self, from: body)
        throw said ?? Problem(code: "http-\(status)", detail: "The answer is not one of the service's own.")
    }
}
