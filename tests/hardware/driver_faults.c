/* The driver on a mock of the engine whose bus fails, and with images whose numbers are wrong.
 *
 *   driver_faults bus            a fault of each kind at each access of a sequence of calls; two drivers
 *   driver_faults states         saved states that are damaged or of another network
 *   driver_faults images FILE N  N images, each with some wrong words and the right checksum
 *
 * A run of the mock mixes all that a run of an engine depends on, so that every change shows in its results.
 * Prints numbers of cases; the exit code is 1 when a call returned EQUILIF_OK and something wrong. */
#include "network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASE 0x40000000u
#define NUM_CALLS 13
#define MAX_VALUES (EQUILIF_VALUE_GROUPS * EQUILIF_LANES)

/* -- engine ---------------------------------------------------------------------------------------- */
static int16_t weights[EQUILIF_N_WEIGHTS];
static uint16_t values[MAX_VALUES];
static uint32_t staged[EQUILIF_N_PROGRAM_WORDS], program[EQUILIF_N_PROGRAM_WORDS];
static uint32_t num_program, counter, region, address, done, busy, prediction;
static const struct equilif_network *network;

static void mix(uint32_t *hash, uint32_t word)
{
    *hash = (*hash ^ word) * 0x9E3779B1u;
    *hash ^= *hash >> 15;
}

static void mix_values(uint32_t *hash, uint32_t first, uint32_t num)
{
    while (num--)
        mix(hash, values[first++]);
}

static int is_halt(const uint32_t *instruction)
{
    return !memcmp(instruction, equilif_program + equilif_network.num_program - 3, 12);
}

static void run_program(uint32_t learn)
{
    const struct equilif_network *n = network;
    const struct equilif_block *b;
    uint32_t i, row, hash = 1;

    for (i = 0; i < num_program; i++) {
        mix(&hash, program[i]);
        if (i % 3 == 2 && is_halt(program + i - 2))
            break;
    }
    for (b = n->inputs; b < n->inputs + n->num_input_blocks; b++)
        for (row = 0; row < b->rows; row++)
            mix_values(&hash, b->first + row * b->stride, b->width);
    if (learn)
        mix_values(&hash, n->target->first, n->target->width);
    mix_values(&hash, n->first_constant, n->num_constants);
    mix_values(&hash, n->first_present, n->num_tokens);
    for (i = 0; i < EQUILIF_N_WEIGHTS && i < n->num_weights + n->num_tokens * EQUILIF_LANES; i++)
        mix(&hash, (uint32_t)weights[i]);
    if (learn) {
        mix(&hash, counter);
        for (i = 0; i < n->num_weights; i++)
            weights[i] = (int16_t)(weights[i] ^ (int16_t)(hash >> i % 16 & 3u));
        counter = (counter + n->num_updates * EQUILIF_COUNTER_STEP) & EQUILIF_COUNTER_MASK;
    }
    for (b = n->rates; b < n->rates + n->num_rate_blocks; b++)
        for (row = 0; row < b->rows; row++)
            for (i = 0; i < b->width; i++) {
                mix(&hash, i);
                values[b->first + row * b->stride + i] = (uint16_t)hash;
            }
    prediction = hash % n->num_outputs;
    busy = 2;
    done = 0;
}

static uint32_t *element(void)
{
    static uint32_t word;
    const uint32_t sizes[] = {EQUILIF_N_WEIGHTS, MAX_VALUES, EQUILIF_N_PROGRAM_WORDS, 1};

    if (busy || address >= sizes[region])
        return NULL;
    if (region == EQUILIF_REGION_PROGRAM)
        return &staged[address];
    word = region == EQUILIF_REGION_WEIGHTS ? (uint32_t)weights[address]
           : region == EQUILIF_REGION_VALUES ? values[address]
                                             : counter;
    return &word;
}

static uint32_t read_register(uint32_t offset)
{
    uint32_t *found;

    switch (offset) {
    case EQUILIF_ID: return EQUILIF_EXPECTED_ID;
    case EQUILIF_VERSION: return EQUILIF_EXPECTED_VERSION;
    case EQUILIF_NUMERICS: return EQUILIF_EXPECTED_NUMERICS;
    case EQUILIF_TILES: return EQUILIF_N_TILES;
    case EQUILIF_GROUPS: return EQUILIF_VALUE_GROUPS | EQUILIF_STATE_GROUPS << 16;
    case EQUILIF_PROGRAM_WORDS: return EQUILIF_N_PROGRAM_WORDS;
    case EQUILIF_REGION: return region;
    case EQUILIF_ADDRESS: return address;
    case EQUILIF_PREDICTION: return prediction;
    case EQUILIF_STATUS:
        if (busy && !--busy)
            done = EQUILIF_STATUS_DONE_MASK;
        return done | (busy ? EQUILIF_STATUS_BUSY_MASK : 0) | (num_program ? EQUILIF_STATUS_LOADED_MASK : 0);
    case EQUILIF_DATA:
        found = element();
        address += found != NULL;
        return found ? *found : 0;
    default: return 0;
    }
}

static void write_register(uint32_t offset, uint32_t word)
{
    switch (offset) {
    case EQUILIF_REGION: region = word < 4 ? word : region; break;
    case EQUILIF_ADDRESS: address = word < EQUILIF_N_WEIGHTS ? word : address; break;
    case EQUILIF_STATUS: done &= ~word; break;
    case EQUILIF_CONTROL:
        if (word & EQUILIF_CONTROL_START_MASK && num_program && !busy)
            run_program(word & EQUILIF_CONTROL_LEARN_MASK);
        break;
    case EQUILIF_LOAD:
        if (word && word <= EQUILIF_N_PROGRAM_WORDS / 3 && is_halt(staged + 3 * word - 3)) {
            num_program = 3 * word;
            memcpy(program, staged, 4 * num_program);
        }
        break;
    case EQUILIF_DATA:
        if (!element())
            break;
        if (region == EQUILIF_REGION_WEIGHTS)
            weights[address] = (int16_t)word;
        else if (region == EQUILIF_REGION_VALUES)
            values[address] = (uint16_t)word;
        else if (region == EQUILIF_REGION_PROGRAM)
            staged[address] = word;
        else
            counter = word & EQUILIF_COUNTER_MASK;
        address++;
    }
}

/* -- bus ------------------------------------------------------------------------------------------- */
enum fault { /* FLIP + b: wrong bit b of one word */
    FLIP = 0,
    LOST = 32,     /* one write is lost */
    NO_WRITES,     /* from here on */
    DEAD,          /* from here on reads give `constants`, and writes are lost */
    READS = DEAD + 7, /* the same with writes that work */
    NONE = READS + 7
};
static const uint32_t constants[] = {0xFFFFFFFFu, 0, 1, EQUILIF_STATUS_LOADED_MASK,
                                     EQUILIF_STATUS_LOADED_MASK | EQUILIF_STATUS_DONE_MASK};
static uint32_t fault = NONE, place, num_accesses, last_read, last_word;

static uint32_t constant(uint32_t k)
{
    return k < 5 ? constants[k] : k == 5 ? last_read : last_word;
}

uint32_t equilif_read32(uintptr_t at)
{
    const uint32_t k = num_accesses++;
    uint32_t word;

    if (k >= place && fault >= DEAD && fault < NONE)
        return constant(fault < READS ? fault - DEAD : fault - READS);
    word = read_register((uint32_t)(at - BASE));
    if (k == place && fault < LOST)
        word ^= 1u << fault;
    if (k < place)
        last_read = last_word = word;
    return word;
}

void equilif_write32(uintptr_t at, uint32_t word)
{
    const uint32_t k = num_accesses++;

    if (k < place)
        last_word = word;
    if (k == place && fault < LOST)
        word ^= 1u << fault;
    if (!(k == place && fault == LOST) && !(k >= place && fault >= NO_WRITES && fault < READS))
        write_register((uint32_t)(at - BASE), word);
}

/* -- calls ----------------------------------------------------------------------------------------- */
struct results {
    uint32_t prediction;
    uint16_t rates[EQUILIF_NETWORK_NUM_RATES];
    struct equilif_state state;
    int16_t weights[EQUILIF_NETWORK_NUM_WEIGHTS];
};
static const uint8_t samples[2][EQUILIF_NETWORK_NUM_INPUTS + 1] = {{9, 0, 255, 1}, {9, 7, 255}};
static int16_t patterns[(EQUILIF_NETWORK_NUM_TOKENS + 1) * (EQUILIF_NETWORK_TOKEN_WIDTH + 1)];

/* One call of the sequence; results of calls that give none stay. */
static int call(struct equilif_engine *e, int step, struct results *r)
{
    static struct results saved;
    int result;

    switch (step) {
    case 0: return equilif_load(e, BASE, network);
    case 1: return EQUILIF_NETWORK_NUM_TOKENS ? equilif_tokens(e, patterns, 1) : EQUILIF_OK;
    case 2: return equilif_learn(e, samples[0], 0, &r->prediction);
    case 3: return equilif_learn(e, samples[0], 0, &r->prediction);
    case 4: return equilif_predict(e, samples[0], &r->prediction);
    case 5: return equilif_rates(e, r->rates);
    case 6:
        result = equilif_save(e, &r->state, r->weights);
        if (result == EQUILIF_OK)
            saved = *r;
        return result;
    case 7: return equilif_learn(e, samples[1], 1, &r->prediction);
    case 8: return EQUILIF_NETWORK_NUM_TOKENS ? equilif_tokens(e, patterns, 2) : EQUILIF_OK;
    case 9: return equilif_predict(e, samples[1], &r->prediction);
    case 10: return equilif_restore(e, &saved.state, saved.weights);
    case 11: return equilif_predict(e, samples[0], &r->prediction);
    default: return equilif_save(e, &r->state, r->weights);
    }
}

/* An engine that another network was used on: the same program but for a word, the same sample. */
static void reset(void)
{
    uint32_t i;

    for (i = 0; i < EQUILIF_N_PROGRAM_WORDS; i++)
        staged[i] = equilif_network.program[equilif_network.num_program - 3 + i % 3];
    memcpy(program, equilif_program, sizeof equilif_program);
    program[1] ^= 4;
    num_program = equilif_network.num_program;
    for (i = 0; i < EQUILIF_N_WEIGHTS; i++)
        weights[i] = 78;
    memset(values, 77, sizeof values);
    counter = 5;
    region = EQUILIF_REGION_VALUES;
    address = prediction = busy = num_accesses = last_read = last_word = 0;
    done = EQUILIF_STATUS_DONE_MASK;
}

static struct results expected[NUM_CALLS];
static unsigned long errors, right, wrong;

/* The sequence up to the first error; after one all calls but a load are errors. */
static void sequence(int reload)
{
    struct equilif_engine e;
    struct results r;
    int step, after, result = EQUILIF_OK;

    memset(&r, 0, sizeof r);
    memset(&e, 0, sizeof e);
    reset();
    for (step = 0; step < NUM_CALLS; step++) {
        result = call(&e, step, &r);
        if (result != EQUILIF_OK)
            break;
        if (memcmp(&r, &expected[step], sizeof r)) {
            if (!wrong++)
                printf("wrong: fault %u at access %u, call %d\n", fault, place, step);
            return;
        }
    }
    *(result == EQUILIF_OK ? &right : &errors) += 1;
    if (result == EQUILIF_OK)
        return;
    for (after = 1; after < NUM_CALLS; after++)
        if ((after != 1 && after != 8) && call(&e, after, &r) == EQUILIF_OK && !wrong++)
            printf("used after an error: fault %u at access %u, call %d\n", fault, place, after);
    if (!reload)
        return;
    fault = NONE;
    memset(&r, 0, sizeof r);
    for (after = 0; after < 4 && call(&e, 0, &r) == EQUILIF_ERROR_BUSY; after++)
        ; /* a run is still going on */
    for (step = 0; step < NUM_CALLS; step++)
        if ((call(&e, step, &r) != EQUILIF_OK || memcmp(&r, &expected[step], sizeof r)) && !wrong++)
            printf("not as new after a load: access %u, call %d\n", place, step);
}

static int test_bus(void)
{
    struct equilif_engine e, other;
    struct results r;
    uint32_t n, i, kind;
    int step;

    network = &equilif_network;
    for (i = 0; i < sizeof patterns / sizeof *patterns; i++)
        patterns[i] = (int16_t)(i * 37u - 50u);
    memset(&r, 0, sizeof r);
    memset(&e, 0, sizeof e);
    reset();
    for (step = 0; step < NUM_CALLS; step++) {
        if (call(&e, step, &r) != EQUILIF_OK)
            return 2;
        expected[step] = r;
    }
    n = num_accesses;
    for (kind = 0; kind < NONE; kind++)
        for (place = 0; place < n; place++) {
            fault = kind;
            sequence(place % 8 == kind % 8);
        }
    printf("%u positions, %u kinds: %lu errors, %lu right, %lu wrong\n", n, (uint32_t)NONE, errors, right, wrong);
    fault = NONE;
    memset(&other, 0, sizeof other);
    reset();
    for (i = 0; i < 40; i++) { /* two driver structures, from power-up on and later */
        struct equilif_engine *first = i & 1 ? &other : &e, *second = i & 1 ? &e : &other;
        if (i < 4)
            reset();
        if (equilif_load(first, BASE, network) || equilif_predict(first, samples[0], &r.prediction) ||
            equilif_load(second, BASE, network) ||
            equilif_predict(first, samples[0], &r.prediction) != EQUILIF_ERROR_OWNER ||
            equilif_predict(second, samples[0], &r.prediction))
            return 3;
    }
    return wrong != 0;
}

/* -- states ---------------------------------------------------------------------------------------- */
static uint32_t crc32_of(const uint8_t *bytes, size_t n)
{
    uint32_t crc = ~0u;
    int bit;

    while (n--)
        for (crc ^= *bytes++, bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1u ? 0xEDB88320u : 0u);
    return ~crc;
}

/* Word `k` of the state changed by `bits`; `sealed`: with the right checksum. */
static int restored(struct equilif_engine *e, const struct results *r, uint32_t k, uint32_t bits, int sealed)
{
    static uint8_t bytes[sizeof r->state + sizeof r->weights];
    struct results other = *r;
    const size_t head = offsetof(struct equilif_state, crc);

    ((uint32_t *)&other.state)[k] ^= bits;
    memcpy(bytes, &other.state, head);
    memcpy(bytes + head, other.weights, sizeof r->weights);
    if (sealed)
        other.state.crc = crc32_of(bytes, head + sizeof r->weights);
    return equilif_restore(e, &other.state, other.weights);
}

static int test_states(void)
{
    struct equilif_engine e;
    struct results r;
    uint32_t k;

    network = &equilif_network;
    reset();
    if (equilif_load(&e, BASE, network) || equilif_learn(&e, samples[0], 0, &r.prediction) ||
        equilif_save(&e, &r.state, r.weights) || restored(&e, &r, 0, 0, 1))
        return 2;
    for (k = 0; k < 10; k++) /* all words but the counter say which state it is; the last is the checksum */
        if (restored(&e, &r, k, 1, 0) != EQUILIF_ERROR_STATE ||
            (k < 9 && restored(&e, &r, k, k == 7 ? 1u << 18 : 1, 1) != EQUILIF_ERROR_STATE))
            return 3;
    r.weights[0] ^= 1;
    if (equilif_restore(&e, &r.state, r.weights) != EQUILIF_ERROR_STATE)
        return 4;
    r.weights[0] ^= 1;
    return equilif_restore(&e, &r.state, r.weights);
}

/* -- images ---------------------------------------------------------------------------------------- */
static uint32_t seed = 1;

static uint32_t chance(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % below;
}

static uint32_t wrong_word(uint32_t word)
{
    switch (chance(8)) {
    case 0: return 0;
    case 1: return word + 1;
    case 2: return word - 1;
    case 3: return 0xFFFFFFFFu - chance(8);
    case 4: return 1u << chance(32);
    case 5: return word ^ 1u << chance(32);
    case 6: return word * 2 + chance(2);
    default: return chance(0x10000) * 0x10001u;
    }
}

/* All that a program does with a network, with arrays that are as large as it says. */
static int use(const struct equilif_network *n)
{
    struct equilif_engine e;
    struct equilif_state state;
    uint32_t prediction, i;
    int16_t *w, *tokens;
    uint16_t *rates;
    uint8_t *x;

    for (i = 0; i < n->num_constants; i++)
        prediction = n->constants[i];
    for (i = 0; i < n->num_weights; i++)
        prediction = (uint32_t)n->weights[i];
    reset();
    if (equilif_load(&e, BASE, n) != EQUILIF_OK)
        return 0;
    w = malloc(sizeof *w * n->num_weights);
    tokens = calloc((size_t)n->num_tokens * n->token_width, sizeof *tokens);
    rates = malloc(sizeof *rates * n->num_rates);
    x = calloc(n->num_inputs, 1);
    if (equilif_tokens(&e, tokens, n->num_tokens) || equilif_learn(&e, x, n->num_outputs - 1, &prediction) ||
        equilif_predict(&e, x, &prediction) || equilif_rates(&e, rates) || equilif_save(&e, &state, w) ||
        equilif_restore(&e, &state, w))
        prediction = 0; /* errors are allowed */
    free(w);
    free(tokens);
    free(rates);
    free(x);
    return 1;
}

static int test_images(const char *name, uint32_t num)
{
    static uint32_t image[1 << 16];
    struct equilif_network opened;
    unsigned long accepted = 0, used = 0;
    uint32_t size, words, k, i, *copy;
    FILE *f = fopen(name, "rb");

    if (!f || !(size = (uint32_t)fread(image, 1, sizeof image, f)))
        return 2;
    fclose(f);
    network = &opened;
    for (k = 0; k < num; k++) {
        words = size / 4;
        if (k % 16 == 7)
            words = 5 + chance(words - 5);
        copy = malloc(4 * words);
        memcpy(copy, image, 4 * words);
        for (i = k ? 1 + chance(3) : 0; i--;) {
            /* mostly fields and blocks, which hold numbers */
            uint32_t at = 4 + chance(chance(4) ? (words - 4 < 26 ? words - 4 : 26) : words - 4);
            copy[at] = wrong_word(copy[at]);
        }
        copy[2] = k % 64 == 63 ? wrong_word(copy[2]) : 4 * words;
        if (copy[2] >= 16 && copy[2] <= 4 * words)
            copy[3] = crc32_of((uint8_t *)(copy + 4), copy[2] - 16);
        if (equilif_open(&opened, copy, 4 * words) == EQUILIF_OK) {
            accepted++;
            used += (unsigned long)use(&opened);
        } else if (!k)
            return 3;
        free(copy);
    }
    printf("%u images: %lu accepted, %lu loaded\n", num, accepted, used);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2)
        return strcmp(argv[1], "bus") ? test_states() : test_bus();
    return argc == 4 && !strcmp(argv[1], "images") ? test_images(argv[2], (uint32_t)atoi(argv[3])) : 4;
}
