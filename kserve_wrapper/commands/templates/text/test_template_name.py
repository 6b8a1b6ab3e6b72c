"""What the model answers, loaded as TorchServe would: python -m unittest (or pytest)."""

import unittest
from pathlib import Path

from kserve_wrapper.archiver import ask, example

HERE = Path(__file__).resolve().parent


class TemplateNameTest(unittest.TestCase):
    def test_answers(self) -> None:
        too_long = {"instances": ["good", "good " * 200]}
        told, refused = ask(HERE, example(HERE), too_long)
        self.assertEqual(told, (200, {"predictions": ["positive", "negative"]}))
        self.assertEqual(refused[0], 400)
        self.assertIn("row 1", refused[1]["error"])


if __name__ == "__main__":
    unittest.main()
