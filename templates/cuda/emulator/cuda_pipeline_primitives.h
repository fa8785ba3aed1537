// `__pipeline_memcpy_async` and what goes with it, which are there in any case.
#pragma once
