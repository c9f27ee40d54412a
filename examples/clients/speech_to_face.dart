// A face for a voice, from an s2f service. Needs package:http.
// The face is invented. It is not the speaker and identifies nobody; say so wherever you show it.

import 'dart:convert';
import 'dart:typed_data';

import 'package:http/http.dart' as http;

/// What the service refused or failed to do. Test for [code]; [detail] is a sentence for people.
class Problem implements Exception {
  const Problem(this.code, this.detail);

  final String code;
  final String detail;

  @override
  String toString() => '$detail ($code)';
}

/// The bytes of a PNG for a recording (wav, flac, ogg, opus, mp3, ...) of one person who speaks.
///
/// [server] is such as `Uri.parse('https://faces.example')`; [gender] is auto, general, male or female; [key] is
/// an API key, where the server needs one. Throws [Problem] where the service says why there is no face, such as
/// `not-speech` or `busy`, [http.ClientException] where it cannot be reached, and TimeoutException after a minute.
Future<Uint8List> speechToFace(Uri server, List<int> recording, {String gender = 'auto', String? key}) async {
  final request = http.MultipartRequest('POST', server.resolve('/v1/face'))
    ..fields['gender'] = gender
    ..files.add(http.MultipartFile.fromBytes('file', recording, filename: 'recording'));
  if (key != null) {
    request.headers['Authorization'] = 'Bearer $key';
  }
  final sent = request.send().then(http.Response.fromStream);
  final answer = await sent.timeout(const Duration(minutes: 1));
  if (answer.statusCode == 200) {
    return answer.bodyBytes;
  }
  if (answer.headers['content-type'] == 'application/problem+json') {
    final said = jsonDecode(utf8.decode(answer.bodyBytes)) as Map<String, dynamic>;
    throw Problem(said['code'] as String, said['detail'] as String);
  }
  throw Problem('http-${answer.statusCode}', 'The answer is not one of the service\'s own.');
}
