"""Transforms: what they draw, how they show, and what they refuse."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from PIL import Image

import tracec
from tests.failures import caught, check_form
from tracec.utils.data import DataLoader, Dataset
from tracec.vision import transforms as T
from tracec.vision.transforms import functional as F
from tracec.vision.transforms import learned, v2


def photo(size: int = 24) -> Image.Image:
    values = np.random.default_rng(1).integers(0, 256, (size, size + 4, 3), dtype=np.uint8)
    return Image.fromarray(values)


#: Every random transform that takes both kinds of images.
RANDOM = [
    T.RandomCrop(8, padding=2),
    T.RandomCrop(40, pad_if_needed=True),
    T.RandomResizedCrop(8),
    T.RandomHorizontalFlip(),
    T.RandomVerticalFlip(),
    T.RandomRotation(30),
    T.RandomRotation((0, 90), expand=True, fill=3),
    T.RandomAffine(10, (0.1, 0.2), (0.8, 1.2), 5),
    T.RandomAffine(10, shear=(1, 2, 3, 4), fill=2, center=(0, 0)),
    T.RandomPerspective(p=0.9),
    T.ElasticTransform(),
    T.ColorJitter(0.2, 0.3, (0.5, 1), 0.1),
    T.RandomGrayscale(0.5),
    T.GaussianBlur(3),
    T.RandomInvert(),
    T.RandomPosterize(3),
    T.RandomSolarize(100),
    T.RandomAdjustSharpness(2),
    T.RandomAutocontrast(),
    T.RandomEqualize(),
    T.RandAugment(),
    T.TrivialAugmentWide(),
    T.AutoAugment(),
    T.AutoAugment(T.AutoAugmentPolicy.SVHN, fill=3),
    T.AugMix(),
    T.RandomApply([T.RandomRotation(20)], p=0.7),
    T.RandomChoice([T.RandomInvert(1), T.RandomCrop(5)], p=[1, 2]),
    T.RandomOrder([T.RandomInvert(), T.RandomCrop(5)]),
]


@pytest.mark.parametrize("transform", RANDOM, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("kind", ["pillow", "tensor"])
def test_a_seed_repeats_what_is_drawn(transform, kind):
    image = photo() if kind == "pillow" else F.pil_to_tensor(photo())

    def run(seed):
        tracec.manual_seed(seed)
        return [np.asarray(transform(image)) for _ in range(6)]

    first, again, other = run(0), run(0), run(1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(a.shape == b.shape and np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_how_often():
    tracec.manual_seed(0)
    image = photo()
    mirrored = sum(T.RandomHorizontalFlip(0.25)(image) is not image for _ in range(400))
    assert 70 < mirrored < 130
    assert T.RandomHorizontalFlip(0)(image) is image and T.RandomHorizontalFlip(1)(image) is not image


def test_parts_are_anywhere():
    tracec.manual_seed(0)
    x = tracec.arange(16).reshape(1, 4, 4)
    starts = collections.Counter(int(T.RandomCrop(3)(x)[0, 0, 0]) for _ in range(200))
    assert set(starts) == {0, 1, 4, 5} and min(starts.values()) > 25


def test_parts_of_any_size():
    tracec.manual_seed(0)
    image = tracec.zeros(3, 100, 100)
    for _ in range(50):
        top, left, height, width = T.RandomResizedCrop.get_params(image, (0.2, 0.5), (0.5, 2.0))
        assert top + height <= 100 and left + width <= 100
        assert 1800 < height * width < 5200 and 0.48 < width / height < 2.1
    # None fits: the middle, as near to the proportions as it goes.
    assert T.RandomResizedCrop.get_params(tracec.zeros(3, 10, 100), (0.9, 1.0), (1.0, 1.0)) == (0, 45, 10, 10)


def test_angles_and_ways_are_in_their_ranges():
    tracec.manual_seed(0)
    drawn = [T.RandomAffine.get_params([-10, 20], (0.1, 0.2), (0.5, 2.0), [1, 2, 3, 4], (100, 50)) for _ in range(100)]
    angles, ways, factors, shears = (np.array(part) for part in zip(*drawn, strict=True))
    for values, low, high in (
        (angles, -10, 20), (ways[:, 0], -10, 10), (ways[:, 1], -10, 10), (factors, 0.5, 2), (shears[:, 0], 1, 2),
        (shears[:, 1], 3, 4),
    ):  # fmt: skip
        assert low <= values.min() < low + 0.2 * (high - low) and high - 0.2 * (high - low) < values.max() <= high


def test_colours_change_in_any_order():
    tracec.manual_seed(0)
    orders = {tuple(T.ColorJitter.get_params((1, 2), None, (1, 2), None)[0].tolist()) for _ in range(200)}
    assert len(orders) == 24
    _, light, contrast, saturation, hue = T.ColorJitter.get_params((1, 2), None, (3, 4), None)
    assert 1 <= light <= 2 and contrast is None and 3 <= saturation <= 4 and hue is None
    image = photo()
    assert T.ColorJitter()(image) is image


def test_rectangles():
    tracec.manual_seed(0)
    x = tracec.ones(3, 20, 20)
    for _ in range(20):
        out = T.RandomErasing(1, scale=(0.1, 0.2), ratio=(0.5, 2.0), value=7.0)(x)
        gone = int((out[0] == 7).sum())
        assert 30 <= gone <= 90 and (out[0] == 7).equal(out[2] == 7)
    assert T.RandomErasing(1, value="random")(x).unique().numel() > 20
    assert T.RandomErasing(1, value=(1, 2, 3))(tracec.zeros(3, 9, 9)).amax((1, 2)).tolist() == [1, 2, 3]
    assert T.RandomErasing(0)(x) is x


@pytest.mark.parametrize("kind", ["pillow", "tensor"])
@pytest.mark.parametrize("policy", [T.RandAugment(num_ops=1, magnitude=20), T.TrivialAugmentWide()])
def test_every_change_of_a_policy(policy, kind, monkeypatch):
    from tracec.vision.transforms import policies

    seen = set()
    changed = policies.changed
    monkeypatch.setattr(policies, "changed", lambda name, *rest: (seen.add(name), changed(name, *rest))[1])
    tracec.manual_seed(0)
    image = photo() if kind == "pillow" else F.pil_to_tensor(photo())
    for _ in range(120):
        found = policy(image)
        assert F.get_dimensions(found) == F.get_dimensions(image)
    assert len(seen) == 14


@pytest.mark.parametrize("policy", list(T.AutoAugmentPolicy), ids=str)
@pytest.mark.parametrize("kind", ["pillow", "tensor"])
def test_pairs_of_changes_that_were_found_by_search(policy, kind, monkeypatch):
    seen = {}
    changed = learned.changed
    monkeypatch.setattr(
        learned, "changed", lambda name, img, k, *rest: (seen.setdefault(name, set()).add(round(k, 6)),
                                                         changed(name, img, k, *rest))[1],
    )  # fmt: skip
    transform = T.AutoAugment(policy)
    assert len(transform.policies) == 25
    tracec.manual_seed(0)
    image = photo() if kind == "pillow" else F.pil_to_tensor(photo())
    for _ in range(500):
        assert F.get_dimensions(transform(image)) == F.get_dimensions(image)
    told = {name for pair in transform.policies for name, share, _ in pair if share > 0}
    assert seen.keys() == told and "Invert" in seen and seen["Invert"] == {0.0}
    if policy is T.AutoAugmentPolicy.IMAGENET:
        # Strengths as the paper's table has them: the last two of ten angles, either way.
        assert (
            {30.0, -30.0}
            < seen["Rotate"]
            <= {sign * angle for sign in (1, -1) for angle in (30.0, round(80 / 3, 6), 10.0)}
        )
        assert seen["Posterize"] <= {4.0, 5.0, 6.0}


def test_a_pair_of_changes_happens_as_often_as_its_policy_says(monkeypatch):
    names = []
    monkeypatch.setattr(learned, "changed", lambda name, img, *rest: (names.append(name), img)[1])
    transform = T.AutoAugment(T.AutoAugmentPolicy.CIFAR10)
    transform.policies = [(("Invert", 0.1, None), ("Contrast", 0.8, 6))]
    tracec.manual_seed(0)
    for _ in range(500):
        transform(photo())
    assert 30 < names.count("Invert") < 75 and 370 < names.count("Contrast") < 430


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_mixtures_of_chains(mode):
    tracec.manual_seed(0)
    image = photo().convert(mode)
    found = [T.AugMix(severity=9, chain_depth=2)(image) for _ in range(5)]
    assert all(f.mode == mode and f.size == image.size for f in found)
    mixed = T.AugMix(alpha=1e6, all_ops=False)(F.pil_to_tensor(image))
    assert mixed.dtype is tracec.uint8 and mixed.shape == F.pil_to_tensor(image).shape
    # With one chain of nothing the image stays, but for what is rounded down.
    still = T.AugMix(mixture_width=1)
    still._chained = lambda img, table: img
    apart = still(F.pil_to_tensor(image)).int() - F.pil_to_tensor(image).int()
    assert int(apart.min()) >= -1 and int(apart.max()) <= 0


def test_workers_draw_numbers_of_their_own():
    class Numbers(Dataset):
        transform = T.Compose([T.RandomCrop(1), T.Lambda(lambda x: int(x))])

        def __getitem__(self, k):
            return self.transform(tracec.arange(10_000).reshape(1, 100, 100))

        def __len__(self):
            return 40

    def run():
        tracec.manual_seed(3)
        return [int(k) for batch in DataLoader(Numbers(), batch_size=4, num_workers=2) for k in batch]

    first = run()
    assert len(set(first)) > 35 and run() == first


def test_whitening():
    matrix, means = tracec.eye(4) * 2, tracec.ones(4)
    found = T.LinearTransformation(matrix, means)(tracec.arange(4.0).reshape(1, 2, 2))
    assert found.flatten().tolist() == [-2, 0, 2, 4]


def test_modules_go_into_sequential_modules():
    chain = tracec.nn.Sequential(T.CenterCrop(4), T.ConvertImageDtype(tracec.float32), T.Normalize([0.5], [0.5]))
    found = chain(tracec.full((3, 8, 8), 255, dtype=tracec.uint8))
    assert tuple(found.shape) == (3, 4, 4) and (found == 1).all()


def test_they_show_what_they_do(golden):
    shown = [
        T.Compose([T.ToTensor(), T.Resize(4)]), T.PILToTensor(), T.ToPILImage("RGB"), T.Normalize((0.5,), (0.5,)),
        T.Resize((4, 5), T.InterpolationMode.NEAREST), T.CenterCrop(4), T.Pad((1, 2), 3, "edge"), T.FiveCrop(3),
        T.TenCrop(3), T.Grayscale(), T.RandomErasing(), T.LinearTransformation(tracec.eye(1), tracec.zeros(1)), *RANDOM,
        v2.ToImage(), v2.ToDtype(tracec.float32, scale=True), v2.MixUp(num_classes=3), v2.RandomHorizontalFlip(),
    ]  # fmt: skip
    assert "\n".join(map(repr, shown)) == golden


def test_mistakes(golden):
    x, image = tracec.zeros(3, 4, 4), Image.new("RGB", (4, 4))
    mistakes = {
        "no image": lambda _: F.resize([1, 2], 3),
        "an array": lambda _: F.hflip(np.zeros((3, 3))),
        "no height": lambda _: F.vflip(tracec.zeros(3)),
        "a tensor again": lambda _: T.ToTensor()(x),
        "tensors before they are": lambda _: T.Normalize([0.5], [0.5])(image),
        "bytes": lambda _: F.normalize(x.to(tracec.uint8), [0.5], [0.5]),
        "means": lambda _: F.normalize(x, [0.5, 0.5], [0.5]),
        "nothing to divide by": lambda _: F.normalize(x, [0.5], [0.0]),
        "five channels": lambda _: F.to_pil_image(tracec.zeros(5, 4, 4)),
        "a batch": lambda _: F.to_pil_image(tracec.zeros(1, 3, 4, 4)),
        "a mode": lambda _: F.to_pil_image(x, "L"),
        "a size": lambda _: T.Resize(0)(x),
        "three sizes": lambda _: T.Resize((1, 2, 3)),
        "a word": lambda _: T.CenterCrop("large"),
        "a long side": lambda _: F.resize(x, 8, max_size=8),
        "a filter": lambda _: F.resize(x, 8, T.InterpolationMode.LANCZOS),
        "a name of one": lambda _: F.resize(x, 8, "bilinear"),
        "a part": lambda _: T.RandomCrop(5)(x),
        "corners": lambda _: F.five_crop(x, 5),
        "a mirror": lambda _: F.pad(x, 4, padding_mode="reflect"),
        "a border": lambda _: T.Pad(1, padding_mode="round"),
        "a class": lambda _: T.Compose([T.ToTensor]),
        "nothing to call": lambda _: T.Compose([3]),
        "a probability": lambda _: T.RandomHorizontalFlip(2),
        "a range": lambda _: T.ColorJitter(hue=0.7),
        "a negative one": lambda _: T.ColorJitter(brightness=-1),
        "a hue": lambda _: F.adjust_hue(x, 0.7),
        "channels": lambda _: F.adjust_saturation(tracec.zeros(2, 4, 4), 0.7),
        "an even filter": lambda _: T.GaussianBlur(4),
        "a wide filter": lambda _: F.gaussian_blur(x, 9),
        "floats": lambda _: F.posterize(x, 3),
        "bits": lambda _: F.posterize(image, 9),
        "a line": lambda _: F.perspective(x, [[0, 0], [1, 1], [2, 2], [3, 3]], [[0, 0], [1, 1], [2, 2], [3, 3]]),
        "a scale": lambda _: F.affine(x, 0, (0, 0), 0, (0, 0)),
        "weights": lambda _: T.RandomChoice([T.ToTensor()], p=[1, 2]),
        "a strength": lambda _: T.RandAugment(magnitude=31),
        "a policy": lambda _: T.AutoAugment("imagenet"),
        "no severity": lambda _: T.AugMix(severity=11),
        "a matrix": lambda _: T.LinearTransformation(tracec.eye(3), tracec.zeros(2)),
        "no labels": lambda _: v2.MixUp(num_classes=2)(tracec.zeros(2, 3, 4, 4)),
        "no number of classes": lambda _: v2.CutMix()(tracec.zeros(2, 3, 4, 4), tracec.tensor([0, 1])),
    }
    found = [f"# {name}\n{check_form(caught(None, mistake, []))}" for name, mistake in mistakes.items()]
    assert "\n\n".join(found) == golden


# The second interface -------------------------------------------------------------------------------------


def test_a_sample_is_handed_on():
    crop = v2.Compose([v2.RandomCrop(8), v2.ToImage(), v2.ToDtype(tracec.float32, scale=True)])
    image, label = crop(photo(), 7)
    assert tuple(image.shape) == (3, 8, 8) and image.max() <= 1 and label == 7
    sample = crop({"image": photo(), "label": tracec.tensor(7)})
    assert tuple(sample["image"].shape) == (3, 8, 8) and sample["label"] == 7
    alone = v2.Resize(5)(tracec.zeros(3, 10, 10))
    assert tuple(alone.shape) == (3, 5, 5)


def test_others_take_samples_too():
    tracec.manual_seed(0)
    chosen = v2.RandomChoice([v2.Resize(5), v2.RandomOrder([v2.Resize((5, 6)), v2.PILToTensor()])])
    kinds = set()
    for _ in range(10):
        image, label = chosen(photo(), 7)
        kinds.add(type(image))
        assert label == 7 and F.get_image_size(image)[1] == 5
    assert len(kinds) == 2
    assert v2.Lambda(lambda k: k + 1, int)("cat", [3, 4]) == ("cat", [4, 5])
    assert v2.Lambda(lambda k: k + 1)(3) == 4


def test_images_of_one_sample_are_changed_alike():
    tracec.manual_seed(0)
    for _ in range(5):
        one, two = v2.RandomCrop(5)(photo(), photo())
        assert one.tobytes() == two.tobytes()
    parts = {v2.RandomCrop(5)(photo()).tobytes() for _ in range(9)}
    assert len(parts) > 5


def test_scaled_or_not():
    x = tracec.tensor([[0, 255]], dtype=tracec.uint8)
    assert v2.ToDtype(tracec.float32)(x).tolist() == [[0.0, 255.0]]
    assert v2.ToDtype(tracec.float32, scale=True)(x).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("kind", [v2.MixUp, v2.CutMix])
def test_parts_of_two_images(kind):
    tracec.manual_seed(0)
    images = tracec.arange(3.0).reshape(3, 1, 1, 1).expand(3, 2, 16, 16).clone()
    mixed, shares = kind(num_classes=3)(images, tracec.arange(3))
    assert tuple(mixed.shape) == (3, 2, 16, 16) and tuple(shares.shape) == (3, 3)
    np.testing.assert_allclose(shares.sum(1).numpy(), 1.0, rtol=1e-6)
    # Labels weigh what of the image is theirs.
    np.testing.assert_allclose(mixed.mean((1, 2, 3)).numpy(), (shares @ tracec.arange(3.0)).numpy(), rtol=1e-5)
    assert kind is v2.CutMix or shares.amax() < 1
    again, _ = kind(num_classes=3)((images, tracec.arange(3)))
    assert tuple(again.shape) == (3, 2, 16, 16)
