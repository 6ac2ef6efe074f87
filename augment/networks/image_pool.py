"""An image pool: a discriminator is also shown what its generator made earlier, so that it does not forget it.

SimGAN's idea (Shrivastava et al. 2017, section 2.3), which CycleGAN (Zhu et al. 2017, section 4) uses in the form of
its released code. The two differ in what is shown and in what is kept, so each has its own method.
"""

from __future__ import annotations

import torch
from torch import nn

from augment.core.ranks import sharing_ranks


class ImagePool(nn.Module):
    """A pool of images that were generated earlier.

    The images are kept in non-persistent buffers that are changed in place: the training loop keeps them in its
    checkpoints, and weights files lack them. Call it in the discriminator's step only.

    Args:
        capacity: How many images are kept; 0 = none, and every call gives back what it got.
        channels: Channels of the images.
        size: Their edge in pixels.
    """

    images: torch.Tensor
    count: torch.Tensor

    def __init__(self, capacity: int, channels: int, size: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.register_buffer("images", torch.zeros(capacity, channels, size, size), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64), persistent=False)

    @torch.no_grad()
    def swap(self, images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """CycleGAN's: until the pool is full, images are kept and shown; then each is shown, or swapped for an old one.

        Both with probability 1/2; an exchanged image takes the old one's place.

        Args:
            images: [N, C, H, W], newly generated.
            generator: A CPU generator, the source of randomness.

        Returns:
            [N, C, H, W], what the discriminator shall see; no gradient flows into it.
        """
        images = images.detach()
        if not self.capacity:
            return images
        ranks = sharing_ranks()
        images = ranks.gather(images)  # all ranks keep the same pool
        exchanged = torch.rand(len(images), generator=generator) > 0.5
        places = torch.randint(self.capacity, (len(images),), generator=generator).tolist()
        kept = int(self.count)
        shown = images.clone()
        # One after the other: an image may be exchanged for one that came earlier in the same batch.
        for row, place in enumerate(places):
            if kept < self.capacity:
                self.images[kept].copy_(images[row])
                kept += 1
            elif exchanged[row]:
                shown[row].copy_(self.images[place])
                self.images[place].copy_(images[row])
        self.count.fill_(kept)
        return ranks.own(shown)

    @torch.no_grad()
    def mix(self, images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """SimGAN's: the batch's second half is replaced by old images, its first half is then kept.

        While it is not full, kept images are added; later they take the places of as many others, drawn at random.

        Args:
            images: [N, C, H, W], newly generated.
            generator: A CPU generator, the source of randomness.

        Returns:
            [N, C, H, W], what the discriminator shall see, all new where too few are kept; no gradient flows into it.
        """
        ranks = sharing_ranks()
        images = ranks.gather(images.detach())
        half = min(len(images) // 2, self.capacity)
        if not half:
            return ranks.own(images)
        kept = int(self.count)
        shown = images
        if kept >= half:
            old = torch.randperm(kept, generator=generator)[:half].to(images.device)
            shown = torch.cat([images[:-half], self.images[old].to(images.dtype)])
        added = min(half, self.capacity - kept)
        places = torch.arange(kept, kept + added)
        if added < half:
            places = torch.cat([places, torch.randperm(kept, generator=generator)[: half - added]])
        self.images[places.to(images.device)] = images[:half].to(self.images.dtype)
        self.count.fill_(kept + added)
        return ranks.own(shown)
