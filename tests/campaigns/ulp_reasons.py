"""Functions and methods that have no line in the table of errors, and why not."""

from __future__ import annotations

MOVED = "values are moved or chosen as they are: nothing is rounded"
WRITTEN = "writes what the method without the underscore computes"
TRUTH = "truth values, places or whole numbers: exact, without a gradient"
LEAVES = "no computing: names, settings, dtypes, copies, the tape"
DRAWN = "random numbers: tested by their distribution"

REASONS = {
    MOVED: """T mT chunk contiguous expand expand_as flatten flip gather index_select masked_fill masked_select
        movedim narrow permute repeat repeat_interleave reshape roll select sort split squeeze swapaxes t take tile
        topk transpose tril triu unbind unfold unsqueeze view view_as embedding __getitem__ __setitem__
        __iter__ __pos__""",
    WRITTEN: """add_ clamp_ copy_ div_ exp_ fill_ masked_fill_ mul_ neg_ pow_ relu_ sqrt_ sub_ zero_ __iand__
        __ifloordiv__ __imatmul__ __imod__ __imul__ __ior__ __ipow__ __isub__ __itruediv__ __ixor__""",
    TRUTH: """all any argmax argmin argsort ceil eq floor ge gt isfinite isinf isnan le logical_not lt ne round sign
        trunc one_hot checked_ids __and__ __or__ __xor__ __rand__ __ror__ __rxor__ __invert__ __bool__ __int__
        __index__ __round__ __len__ __eq__ __ne__ __lt__ __le__ __gt__ __ge__ __contains__""",
    LEAVES: """array assign astype backward bool clone cpu cuda data detach detach_ device dim double dtype
        element_size float grad int is_floating_point is_leaf item label learnt long mode name nbytes ndim new_empty
        new_full new_ones new_tensor new_zeros node numel numpy origin register_hook requires_grad requires_grad_
        resize_ retain_grad shape size tensor_type to tolist type type_as viewed __array__ __array_function__
        __array_ufunc__ __copy__ __deepcopy__ __dlpack__ __dlpack_device__ __float__ __torch_function__""",
    DRAWN: "dropout normal_ uniform_",
}
