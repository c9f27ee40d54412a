// A face for a voice, from an s2f service. Needs OkHttp 4 or 5; org.json is part of Android.
// The face is invented. It is not the speaker and identifies nobody; say so wherever you show it.

import java.io.File
import java.io.IOException
import java.util.concurrent.TimeUnit
import okhttp3.HttpUrl
import okhttp3.MediaType.Companion.toMediaType
import okhttp3.MultipartBody
import okhttp3.OkHttpClient
import okhttp3.Request
import okhttp3.RequestBody.Companion.asRequestBody
import org.json.JSONException
import org.json.JSONObject

/** What the service refused or failed to do. Test for [code]; [detail] is a sentence for people. */
class Problem(val code: String, val detail: String) : IOException("$detail ($code)")

/** [key] is an API key, where the server needs one. */
class SpeechToFace(private val server: HttpUrl, private val key: String? = null) {
    private val client = OkHttpClient.Builder().callTimeout(60, TimeUnit.SECONDS).build()

    /**
     * The bytes of a PNG for a recording (wav, flac, ogg, opus, mp3, ...) of one person who speaks.
     * [gender] is auto, general, male or female. It blocks: call it off the main thread.
     *
     * @throws Problem the service says why there is no face, such as `not-speech` or `busy`
     * @throws IOException it cannot be reached
     */
    fun face(recording: File, gender: String = "auto"): ByteArray {
        val form = MultipartBody.Builder()
            .setType(MultipartBody.FORM)
            .addFormDataPart("gender", gender)
            .addFormDataPart("file", "recording", recording.asRequestBody("application/octet-stream".toMediaType()))
            .build()
        val request = Request.Builder().url(server.newBuilder().addPathSegments("v1/face").build()).post(form)
        key?.let { request.header("Authorization", "Bearer $it") }
        client.newCall(request.build()).execute().use { answer ->
            val body = answer.body!!.bytes()
            if (answer.isSuccessful) return body
            throw problem(answer.code, String(body))
        }
    }

    private fun problem(status: Int, body: String): Problem =
        try {
            JSONObject(body).run { Problem(getString("code"), getString("detail")) }
        } catch (error: JSONException) {
            Problem("http-$status", "The answer is not one of the service's own.")
        }
}
