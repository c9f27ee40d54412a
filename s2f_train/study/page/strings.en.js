/** The study in English. */
export default {
  "app.language": "العربية",
  "app.theme": "Dark colours",
  "app.notice": "A face from a voice is invented. It is not the speaker, and it identifies nobody.",
  "app.pause": "You can close this page and go on later in the same browser.",

  "consent.title": "Voices and faces",
  "consent.length": { one: "About {n} minute, {trials} questions.", other: "About {n} minutes, {trials} questions." },
  "consent.agree": "I have read this, I am at least 18, and I want to take part.",
  "consent.begin": "Begin",

  "task.go": "Go on",
  "task.count": { one: "{n} question.", other: "{n} questions." },
  "task.back": "You have answered {n} of {of}.",
  "task.match": "Which face goes with the voice?",
  "task.match.text":
    "You hear a voice and see two faces. Choose the one that goes with the voice better. Often it is hard to tell: go by your impression. Please use headphones, or be somewhere quiet.",
  "task.match.keys": "Keys: ← and → choose, R plays the voice again, Enter goes on.",
  "task.pair": "Which one is the photograph?",
  "task.pair.text":
    "Of two pictures, one is a photograph of a person and one was made by a machine. Choose the photograph.",
  "task.pair.keys": "Keys: ← and → choose, Enter goes on.",
  "task.rate": "How is this face?",
  "task.rate.text":
    "You hear a voice and see a face. Say from 1 to 5 how real the picture looks, how well it fits the voice, and how pleasing it is to look at.",
  "task.rate.keys": "Keys: 1 to 5 answer one line after the other, R plays the voice again, Enter goes on.",

  "question.match": "Which face goes with the voice?",
  "question.pair": "Which one is the photograph?",
  "question.rate": "How is this face?",
  "question.beeps": "How many beeps do you hear?",
  "question.side": "Please choose as it says here",

  "told.left": "This question checks that you read along. Please choose the picture on the left.",
  "told.right": "This question checks that you read along. Please choose the picture on the right.",
  "told.rate":
    "This question checks that you read along. Please give {realism} for real, {fit} for fits and {appeal} for pleasing.",

  "side.left": "Left",
  "side.right": "Right",
  "side.left.alt": "The left picture",
  "side.right.alt": "The right picture",
  "face.alt": "A face",

  "scale.realism": "The picture looks real",
  "scale.realism.low": "not at all",
  "scale.realism.high": "very much",
  "scale.fit": "The face fits the voice",
  "scale.fit.low": "not at all",
  "scale.fit.high": "very well",
  "scale.appeal": "The picture is pleasing to look at",
  "scale.appeal.low": "not at all",
  "scale.appeal.high": "very much",
  "scale.beeps": "Beeps",

  "voice.play": "Play",
  "voice.again": "Play again",
  "voice.first": "Please listen first.",
  "voice.listen": "Listen…",

  "trial.place": "{n} of {of}",
  "trial.next": "Next",
  "trial.waiting": "The server does not answer. Your answer is kept and sent again.",
  "trial.missing": "Something could not be loaded. Please open this page again; your answers are kept.",

  "done.title": "Thank you",
  "done.text":
    "All your answers are kept. The made faces were drawn by computer from voices: they show what such a voice often goes with, and not the speaker. Some of the photographs were of the speakers.",

  "withdraw.open": "Delete my answers",
  "withdraw.title": "Delete all your answers?",
  "withdraw.text": "They are deleted on the server and cannot be brought back.",
  "withdraw.yes": "Delete",
  "withdraw.no": "Keep them",

  "problem.again": "Try again",
  "problem.unreachable": "The server does not answer",
  "problem.unreachable.text": "Please try again in a moment. Your answers so far are kept.",
  "problem.full": "The study is full",
  "problem.full.text": "Enough people have taken part. Thank you for coming.",
  "problem.withdrawn": "Your answers are deleted",
  "problem.withdrawn.text": "Nothing of them is left. You can close this page.",
};
