"""What the model answers, loaded as TorchServe would: python -m unittest (or pytest)."""

import unittest
from pathlib import Path

from kserve_wrapper.archiver import ask, example

HERE = Path(__file__).resolve().parent


class TemplateNameTest(unittest.TestCase):
    def test_answers(self) -> None:
        no_plan = {"instances": [{"usage": [0.9, 0.6, 0.3, 0.1], "plan": 9}]}
        told, refused = ask(HERE, example(HERE), no_plan)
        self.assertEqual(told, (200, {"predictions": ["leaves", "stays"]}))
        self.assertEqual(refused[0], 400)
        self.assertIn("row 0: input plan", refused[1]["error"])


if __name__ == "__main__":
    unittest.main()
