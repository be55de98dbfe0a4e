import numpy as np
import pytest
import torch
from PIL import Image

from otad.data.readers.files import read_image
from otad.studies import own_image


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "I;16"])
def test_a_written_picture_is_read_back(tmp_path, mode):
    image = (
        torch.linspace(0, 1, 13 * 17).view(1, 13, 17).expand(3, -1, -1)
    )  # grey, so that no mode loses colours
    path = own_image.write(tmp_path, image, "one.png", mode)
    assert Image.open(path).mode == mode
    steps = 5 if mode == "P" else 255  # a palette has few greys
    torch.testing.assert_close(read_image(path), image, atol=1 / steps, rtol=0)


def test_every_file_is_tried_and_its_sizes_are_told(tmp_path):
    image = torch.rand(3, 13, 17, generator=torch.Generator().manual_seed(0))
    files = {name: own_image.write(tmp_path, image, f"{name}.png") for name in ("good", "lost")}

    def judge(path):
        seen = read_image(path)
        return seen, np.full((13, 16), np.nan) if path == files["lost"] else seen.mean(0).numpy()

    found = own_image.tried(judge, files).set_index("file")
    assert found["picture"].tolist() == ["13×17", "13×17"]
    assert found["map"].tolist() == ["13×17", "13×16"]
    assert found["finite"].tolist() == [True, False]
    assert (found["seconds"] > 0).all()
