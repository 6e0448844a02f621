"""The default policy: a teacher blended, calibrated and shrunk on held-out rows, distilled into what serves."""
