"""What the model answers, loaded as TorchServe would: python -m unittest (or pytest)."""

import unittest
from pathlib import Path

from kserve_wrapper.archiver import ask, example

HERE = Path(__file__).resolve().parent


class TemplateNameTest(unittest.TestCase):
    def test_answers(self) -> None:
        circle = example(HERE)
        no_image = {"instances": [{"data": "bm90IGFuIGltYWdl"}]}
        told, refused = ask(HERE, circle, no_image)
        self.assertEqual(told, (200, {"predictions": ["circle"]}))
        self.assertEqual(refused[0], 400)
        self.assertIn("row 0: not an image", refused[1]["error"])


if __name__ == "__main__":
    unittest.main()
