"""Which images may run: what their names stand for, and what a policy makes of that."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._admission.images import check_images, fits
from orchestrion.control_plane._admission.references import Reference, reference_of
from orchestrion.control_plane._objects.specs import ImagePolicy
from orchestrion.shared_types import ConfigInvalid, ContainerConfig, Denied, Metadata, WorkloadDefinition

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"
HUB = ".".join(("docker", "io"))


def said(policy: ImagePolicy, *images: str) -> str:
    """Return how a policy refuses a workload of these images, or an empty text."""
    containers = tuple(ContainerConfig(name=f"c{place}", image=image) for place, image in enumerate(images))
    try:
        check_images(WorkloadDefinition(metadata=Metadata(name="web"), containers=containers), policy)
    except Denied as err:
        return err.message
    except ConfigInvalid as err:
        return "no name: " + " ".join(problem.path for problem in err.problems)
    return ""


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("nginx", f"{HUB}/library/nginx:latest"),
        ("nginx:1.27", f"{HUB}/library/nginx:1.27"),
        ("bitnami/nginx", f"{HUB}/bitnami/nginx:latest"),
        (f"index.{HUB}/nginx", f"{HUB}/library/nginx:latest"),
        (f"{HUB}:443/nginx", f"{HUB}/library/nginx:latest"),
        ("registry.example/shop/web:1", "registry.example/shop/web:1"),
        ("REGISTRY.Example:0443/shop/web:V1", "registry.example/shop/web:V1"),
        ("HOST/web", "host/web:latest"),
        ("localhost/web", "localhost/web:latest"),
        ("registry:5000/web", "registry:5000/web:latest"),
        ("[0::1]:5000/web", "[::1]:5000/web:latest"),
        (f"web@{DIGEST}", f"{HUB}/library/web@{DIGEST}"),
        (f"web:1@{DIGEST}", f"{HUB}/library/web:1@{DIGEST}"),
    ],
)
def test_a_short_name_of_an_image_stands_for_a_full_one(image: str, full: str) -> None:
    found = reference_of(image)
    assert found is not None
    assert found.full == full


@pytest.mark.parametrize(
    "image",
    [
        "",
        " nginx",
        "nginx\n",
        "registry.example/shop/../evil:1",
        "registry.example/shop//evil",
        "registry.example/shop/",
        "registry.example/a b",
        "registry.example/Shop/web",
        "registry.example./x:1",
        "registry.example:0/x",
        "registry.example:99999/x",
        "registry.example:/x",
        "https://registry.example/x",
        "user@registry.example/x",
        "[::1::]/x",
        "nginx:",
        "nginx:-1",
        "nginx:" + "a" * 129,
        "nginx:1:2",
        "web@",
        f"web@{DIGEST}0",
        f"web@{DIGEST}\n",
        f"web@{DIGEST.upper()}",
        f"web@{DIGEST}@{DIGEST}",
        "a/" * 126 + "abcd",
        "ngin\u0445",
        HEX,
        DIGEST,
    ],
)
def test_what_engines_take_for_no_name_is_refused_where_there_is_a_policy(image: str) -> None:
    assert said(ImagePolicy(deny=("evil.example/*",)), "nginx", image) == "no name: spec.containers[1].image"
    assert said(ImagePolicy(), image) == ""


LATEST = ImagePolicy(deny=("*:latest", "evil.example/*"))
SHOP = ImagePolicy(allow=("registry.example/shop/*",))


@pytest.mark.parametrize(
    ("image", "policy", "refusal"),
    [
        ("nginx", ImagePolicy(allow=(f"{HUB}/library/*",)), ""),
        (f"{HUB}/library/nginx", ImagePolicy(allow=("nginx",)), ""),
        ("nginx", ImagePolicy(allow=("nginx:*",)), ""),
        ("registry.example/web", ImagePolicy(allow=("nginx*", "registry.example/*")), ""),
        ("evil.example/web", ImagePolicy(allow=("registry.example/*",)), "does not allow 'evil.example/web'"),
        ("registry.example.evil.example/web", ImagePolicy(allow=("registry.example/*",)), "does not allow"),
        ("registry.example:5000/shop/web", SHOP, "does not allow"),
        ("Registry.Example:443/shop/web", SHOP, ""),
        (f"registry.example/shop/web:1@{DIGEST}", SHOP, ""),
        ("nginx:latest", LATEST, "denies '*:latest'"),
        ("nginx", LATEST, f"denies '*:latest', which '{HUB}/library/nginx:latest' is"),
        ("nginx:1", LATEST, ""),
        (f"nginx@{DIGEST}", LATEST, ""),
        ("EVIL.example/x:1", LATEST, "denies 'evil.example/*'"),
        ("evil.example:443/x:1", LATEST, "denies"),
        ("evil.example/x:1", ImagePolicy(deny=("EVIL.example:443/*",)), "denies"),
        ("evil/miner", ImagePolicy(deny=(f"{HUB}/evil/*",)), "denies"),
        (f"index.{HUB}/evil/miner", ImagePolicy(deny=(f"{HUB}/evil/*",)), "denies"),
        (f"{HUB}/evil/miner", ImagePolicy(deny=("evil/*",)), "denies"),
        (f"{HUB}/library/miner:1", ImagePolicy(deny=("miner:*",)), "denies"),
        # A folder of the standard registry that looks like a host is none where it is written out.
        (f"{HUB}/evil.example/x:1", ImagePolicy(deny=("evil.example/*",)), ""),
        (f"miner:1@{DIGEST}", ImagePolicy(deny=(f"miner@{DIGEST}",)), "denies"),
        ("web:1", ImagePolicy(require_digest=True), "by digest"),
        (f"web@{DIGEST}", ImagePolicy(require_digest=True), ""),
    ],
)
def test_a_policy_says_which_images_may_run(image: str, policy: ImagePolicy, refusal: str) -> None:
    assert refusal in said(policy, image)
    assert bool(said(policy, image)) == bool(refusal)


WORDS = st.sampled_from(["web", "shop", "evil-x", "a.b", "library"])
REGISTRIES = st.sampled_from([HUB, "evil.example", "registry.example:5000", "localhost"])
ENDS = st.sampled_from(["", ":latest", ":1", f"@{DIGEST}", f":latest@{DIGEST}"])
PATHS = st.lists(WORDS, min_size=1, max_size=3).map("/".join)
STARRED = st.lists(st.sampled_from([*"*/:@", "web", "latest", "1", "evil.example", HUB, "library"]), min_size=1).map(
    "".join
)


def written(registry: str, path: str, end: str) -> list[str]:
    """Return several ways to write the name of one image."""
    host, colon, port = registry.partition(":")
    at = colon + port or ":443"
    hosts = [registry, host.upper() + colon + port, host.title() + at]
    ends = {end, ":latest"} if end in ("", ":latest") else {end}
    return [f"{host}/{path}{end}" for host in hosts for end in sorted(ends)]


@given(
    registry=REGISTRIES, path=PATHS, end=ENDS, patterns=st.lists(STARRED, min_size=1, max_size=3), allow=st.booleans()
)
def test_a_policy_says_the_same_of_an_image_however_it_is_written(
    registry: str, path: str, end: str, patterns: list[str], allow: bool
) -> None:
    policy = ImagePolicy(allow=tuple(patterns)) if allow else ImagePolicy(deny=tuple(patterns))
    assert len({bool(said(policy, image)) for image in written(registry, path, end)}) == 1


@given(image=st.one_of(st.text("aB1./:@-_[]", max_size=20), st.builds("{}/{}{}".format, REGISTRIES, PATHS, ENDS)))
def test_all_ways_to_write_a_name_stand_for_the_same(image: str) -> None:
    found = reference_of(image)
    if found is None:
        return
    assert found.full == next(found.ways())

    def short(other: Reference | None) -> Reference:
        assert other is not None
        # A tag beside a digest says nothing.
        return evolve(other, tag="") if other.digest else other

    assert {short(reference_of(way)) for way in found.ways()} == {short(found)}


LETTERS = st.text("ab", max_size=8)


@given(text=LETTERS, pattern=st.text("ab*", max_size=8))
def test_a_star_is_any_text(text: str, pattern: str) -> None:
    def slowly(text: str, pattern: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "*":
            return any(slowly(text[n:], pattern[1:]) for n in range(len(text) + 1))
        return bool(text) and text[0] == pattern[0] and slowly(text[1:], pattern[1:])

    assert fits(text, pattern) == slowly(text, pattern)
