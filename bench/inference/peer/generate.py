"""Turns an XGBoost model into C: generate.py model.json folder."""

import sys

import tl2cgen
import treelite

model = treelite.frontend.load_xgboost_model(sys.argv[1])
tl2cgen.generate_c_code(model, dirpath=sys.argv[2], params={})
