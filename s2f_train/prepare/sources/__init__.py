"""Readers of data-set layouts. Each lists the files of a folder, decodes none, and gives a `Source`.

    voxceleb.voxceleb1, voxceleb.voxceleb2   idXXXXX/VIDEO/00001.wav with vox1_meta.csv or vox2_meta.csv
    vggface.vggface                          NAME/**/*.jpg
    wen.wen                                  the processed data of Wen et al. 2019
    avspeech.avspeech                        clips beside pictures, or full recordings with the official times
    librispeech.librispeech                  SUBSET/SPEAKER/CHAPTER/*.flac with SPEAKERS.TXT
    utkface.utkface                          age_gender_race_date.jpg, in a folder or a tar
    s2f_tars.s2f_tars                        the tars of the folder that `S2F_DATA` names

All raise `items.SourceError` where a folder does not have its layout.
"""
