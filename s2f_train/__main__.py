from s2f_train.cli import app

app()
