"""Which face-mesh points make up which landmark set: plain index tables, no face needed.

MediaPipe's face mesh has 468 points; with irises 478. Left and right are the SUBJECT's: the left eye has x > 0 in model
space and lies on the right-hand side of an unmirrored photo. Every table is a read-only int64 array of point ids.
"""

import numpy as np
from jaxtyping import Int

__all__ = [
    "FACE_OVAL",
    "IBUG68_IN_MEDIAPIPE",
    "LEFT_BROW",
    "LEFT_EYE_RING",
    "LEFT_IRIS",
    "LIPS_INNER",
    "LIPS_OUTER",
    "MEDIAPIPE_105",
    "MEDIAPIPE_MIRROR",
    "RIGHT_BROW",
    "RIGHT_EYE_RING",
    "RIGHT_IRIS",
]


def _ids(text: str) -> Int[np.ndarray, "N"]:
    table = np.array(text.split(), dtype=np.int64)
    table.setflags(write=False)
    return table


MEDIAPIPE_105 = _ids(
    "276 282 283 285 293 295 296 300 334 336 "
    "46 52 53 55 63 65 66 70 105 107 "
    "249 263 362 373 374 380 381 382 384 385 386 387 388 390 398 466 "
    "7 33 133 144 145 153 154 155 157 158 159 160 161 163 173 246 "
    "168 6 197 195 5 4 129 98 97 2 326 327 358 "
    "0 13 14 17 37 39 40 61 78 80 81 82 84 87 88 91 95 146 178 181 "
    "185 191 267 269 270 291 308 310 311 312 314 317 318 321 324 375 402 405 409 415"
)
"""The 105 points FLAME trackers use: left brow (10), right brow (10), left eye (16), right eye (16), nose (13),
lips (40)."""

FACE_OVAL = _ids(
    "10 338 297 332 284 251 389 356 454 323 361 288 397 365 379 378 400 377 "
    "152 148 176 149 150 136 172 58 132 93 234 127 162 21 54 103 67 109"
)
"""The outline of the face, 36 points: a closed loop from the top of the forehead down the subject's left side to the
chin (152) and up the right side."""

RIGHT_IRIS = _ids("468 469 470 471 472")
"""Centre, then four points on the rim; only in the 478-point set."""

LEFT_IRIS = _ids("473 474 475 476 477")
"""Centre, then four points on the rim; only in the 478-point set."""

RIGHT_EYE_RING = _ids("33 246 161 160 159 158 157 173 133 155 154 153 145 144 163 7")
"""The lid margin as a closed loop of 16: outer corner (33), upper lid, inner corner (133), lower lid."""

LEFT_EYE_RING = _ids("263 466 388 387 386 385 384 398 362 382 381 380 374 373 390 249")
"""Mirror image of `RIGHT_EYE_RING`, point by point: outer corner (263), upper lid, inner corner (362), lower lid."""

LIPS_OUTER = _ids("61 185 40 39 37 0 267 269 270 409 291 375 321 405 314 17 84 181 91 146")
"""Closed loop of 20: right corner (61), upper border, left corner (291), lower border."""

LIPS_INNER = _ids("78 191 80 81 82 13 312 311 310 415 308 324 318 402 317 14 87 178 88 95")
"""Closed loop of 20 where the lips meet, same order as `LIPS_OUTER`: right corner (78), upper lip,
left corner (308), lower lip."""

RIGHT_BROW = _ids("70 63 105 66 107 55 65 52 53 46")
"""Closed loop of 10: upper edge from the outer to the inner end, lower edge back."""

LEFT_BROW = _ids("300 293 334 296 336 285 295 282 283 276")
"""Mirror image of `RIGHT_BROW`, point by point."""

IBUG68_IN_MEDIAPIPE = _ids(
    "127 234 93 132 58 136 150 176 152 400 379 365 288 361 323 454 356 "
    "70 63 105 66 107 336 296 334 293 300 "
    "168 197 5 4 98 97 2 326 327 "
    "33 160 158 133 153 144 362 385 387 263 373 380 "
    "61 39 37 0 267 269 291 405 314 17 84 181 78 82 13 312 308 317 14 87"
)
"""The mesh point nearest to each iBUG 68 point, in iBUG order: contour (17), brows (10), nose (9), eyes (12), lips
(20). The definitions differ: by 2-4 % of the outer eye distance on eyes, nose and lips, 5 % on brows, 11 % on the
contour."""

MEDIAPIPE_MIRROR = _ids(
    "0 1 2 248 4 5 6 249 8 9 10 11 12 13 14 15 16 17 18 19 250 251 252 253 254 255 256 257 258 259 260 261 262 "
    "263 264 265 266 267 268 269 270 271 272 273 274 275 276 277 278 279 280 281 282 283 284 285 286 287 288 "
    "289 290 291 292 293 294 295 296 297 298 299 300 301 302 303 304 305 306 307 308 309 310 311 312 313 314 "
    "315 316 317 318 319 320 321 322 323 94 324 325 326 327 328 329 330 331 332 333 334 335 336 337 338 339 "
    "340 341 342 343 344 345 346 347 348 349 350 351 352 353 354 355 356 357 358 359 360 361 362 363 364 365 "
    "366 367 368 369 370 371 372 373 374 375 376 377 378 379 151 152 380 381 382 383 384 385 386 387 388 389 "
    "390 164 391 392 393 168 394 395 396 397 398 399 175 400 401 402 403 404 405 406 407 408 409 410 411 412 "
    "413 414 415 416 417 418 195 419 197 420 199 200 421 422 423 424 425 426 427 428 429 430 431 432 433 434 "
    "435 436 437 438 439 440 441 442 443 444 445 446 447 448 449 450 451 452 453 454 455 456 457 458 459 460 "
    "461 462 463 464 465 466 467 3 7 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 "
    "44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 "
    "79 80 81 82 83 84 85 86 87 88 89 90 91 92 93 95 96 97 98 99 100 101 102 103 104 105 106 107 108 109 110 "
    "111 112 113 114 115 116 117 118 119 120 121 122 123 124 125 126 127 128 129 130 131 132 133 134 135 136 "
    "137 138 139 140 141 142 143 144 145 146 147 148 149 150 153 154 155 156 157 158 159 160 161 162 163 165 "
    "166 167 169 170 171 172 173 174 176 177 178 179 180 181 182 183 184 185 186 187 188 189 190 191 192 193 "
    "194 196 198 201 202 203 204 205 206 207 208 209 210 211 212 213 214 215 216 217 218 219 220 221 222 223 "
    "224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 240 241 242 243 244 245 246 247 473 476 "
    "475 474 477 468 471 470 469 472"
)
"""For each of the 478 points the one on the other side of the face; midline points map to themselves. The permutation
is its own inverse, and maps the edges of MediaPipe's mesh onto each other but for three diagonals."""
