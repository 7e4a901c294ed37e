/* Driver: load a network, learn, predict, save.  C99, without allocation, operating system or floating
 * point.  Every function but the accessors returns EQUILIF_OK or an error.
 *
 * The driver reads back what it writes and reads results twice.  EQUILIF_OK is right even if, since the load,
 *   one word was read or written with one wrong bit,
 *   or one write was lost,
 *   or the bus has died: from an access on, reads give a constant or the last word, or writes are lost.
 * Not covered: wrong addresses, several faults, changes in the memories of the engine, and accesses of
 * another bus master while a function runs, or its writes of weights, values and counter.  A driver structure
 * that loads a network into the engine of another is noticed: the other gets EQUILIF_ERROR_OWNER.
 *
 * After an error of bus or engine, what the engine holds is unknown: load the network again.  Until then
 * every function returns EQUILIF_ERROR_NO_PROGRAM.  LABEL, INFERENCE, TOKENS and STATE change nothing, nor
 * does BUSY when the engine was busy before the call. */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A 32-bit access to the bus, supplied by the integrator as functions or as macros.  Compiled with
 * -DEQUILIF_MEMORY_MAPPED the driver loads and stores at the addresses of the registers. */
#ifdef EQUILIF_MEMORY_MAPPED
#define equilif_read32(address) (*(const volatile uint32_t *)(address))
#define equilif_write32(address, word) (*(volatile uint32_t *)(address) = (word))
#endif
#ifndef equilif_read32
uint32_t equilif_read32(uintptr_t address);
#endif
#ifndef equilif_write32
void equilif_write32(uintptr_t address, uint32_t word);
#endif

/* Reads of STATUS before a run is given up. */
#ifndef EQUILIF_MAX_POLLS
#define EQUILIF_MAX_POLLS 100000000u
#endif

enum equilif_result {
    EQUILIF_OK,
    EQUILIF_ERROR_NO_ENGINE,  /* no engine at the address */
    EQUILIF_ERROR_VERSION,    /* an engine with other lanes, options, number formats or register map */
    EQUILIF_ERROR_TOO_SMALL,  /* memories of the engine are smaller than the network */
    EQUILIF_ERROR_PROGRAM,    /* the engine has not taken the program */
    EQUILIF_ERROR_NO_PROGRAM, /* no network was loaded, the engine was reset, or there was an error before */
    EQUILIF_ERROR_BUSY,       /* a run is in progress, started by another master or by the stream */
    EQUILIF_ERROR_TIMEOUT,    /* a run has not ended within EQUILIF_MAX_POLLS */
    EQUILIF_ERROR_LABEL,      /* the network has no such class */
    EQUILIF_ERROR_INFERENCE,  /* the network was exported without a learning rate */
    EQUILIF_ERROR_TOKENS,     /* more tokens than the network takes */
    EQUILIF_ERROR_IMAGE,      /* the image is damaged, of another layout, or not aligned to 4 bytes */
    EQUILIF_ERROR_BUS,        /* a word does not read as written, or as no engine gives it */
    EQUILIF_ERROR_OWNER,      /* another driver structure has loaded a network into this engine */
    EQUILIF_ERROR_STATE       /* the state is damaged, or of another network, engine or layout */
};

/* Values of a population: `rows` times `width` neighbouring elements, `stride` from row to row. */
struct equilif_block {
    uint32_t first, rows, width, stride;
};

/* A network compiled for an engine; its fields are written by equilif export. */
struct equilif_network {
    uint32_t version, numerics;                       /* as the registers read */
    uint32_t tiles, value_groups, state_groups;       /* that the network needs */
    uint32_t num_inputs, num_outputs, num_rates;      /* num_rates: spiking neurons */
    uint32_t first_sample, num_sample;                /* elements of a sample and its target, with padding */
    uint32_t first_constant, num_constants;
    uint32_t num_program, num_updates, num_weights;   /* words; steps of the counter a sample; elements */
    uint32_t counter;                                 /* dither counter */
    uint32_t num_input_blocks, num_rate_blocks;
    uint32_t num_tokens, token_width;                 /* most tokens of a sample, values of a token; or 0 */
    uint32_t first_token, first_present;              /* elements in WEIGHTS and in VALUES */
    uint32_t identity[4];                             /* digests: 2 words of the structure, 2 of the data */
    const uint32_t *program;
    const struct equilif_block *target, *inputs, *rates;
    const int16_t *weights;
    const uint8_t *constants;
};

#define EQUILIF_IMAGE_MAGIC 0x4E4C5145u /* "EQLN" in bytes */
#define EQUILIF_STATE_MAGIC 0x534C5145u /* "EQLS" in bytes */
#define EQUILIF_LAYOUT 3u               /* of image and state */

struct equilif_engine {
    uintptr_t base;
    const struct equilif_network *network;
    uint32_t owner; /* first staged program word after the load */
};

/* What a file has before the weights, for equilif save --weights and equilif_restore. */
struct equilif_state {
    uint32_t magic, layout, version, identity[4];
    uint32_t counter, num_weights;
    uint32_t crc; /* CRC-32 (as zlib's) of the words before and of the weights */
};

/* Fields of `network` from an image (network.bin), which it points into; little-endian processors only. */
int equilif_open(struct equilif_network *network, const void *image, size_t num_bytes);
/* Check the engine at address `base`; write program, constants, weights and counter. */
int equilif_load(struct equilif_engine *e, uintptr_t base, const struct equilif_network *network);
/* Tokens of the next samples, for a network with num_tokens: patterns[num_tokens][token_width]. */
int equilif_tokens(struct equilif_engine *e, const int16_t *patterns, uint32_t num_tokens);
/* Learn one sample: inputs[num_inputs], or NULL without; `prediction` is the class before the update. */
int equilif_learn(struct equilif_engine *e, const uint8_t *inputs, uint32_t label, uint32_t *prediction);
int equilif_predict(struct equilif_engine *e, const uint8_t *inputs, uint32_t *prediction);
/* Rates of the last sample, rates[num_rates]: bits 0-7 at +beta, 8-15 at -beta. */
int equilif_rates(struct equilif_engine *e, uint16_t *rates);
/* State of learning and weights[num_weights]; restore refuses those of another network. */
int equilif_save(struct equilif_engine *e, struct equilif_state *state, int16_t *weights);
int equilif_restore(struct equilif_engine *e, const struct equilif_state *state, const int16_t *weights);

#ifdef __cplusplus
}
#endif
