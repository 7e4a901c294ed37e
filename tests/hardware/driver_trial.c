/* Runs the driver against a bus on standard output (accesses) and standard input (answers).
 *
 *   driver_trial arrays|IMAGE SAMPLES RESULTS SAVED
 *
 * SAMPLES: numbers of samples to learn and to predict, then label, number of tokens, their patterns, and inputs
 * of each.  RESULTS: prediction and rates of each, then weights and counter before and after a restore.  SAVED:
 * for equilif save --weights.  The exit code is the first error of the driver. */
#include "network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRY(call) do { int result = (call); if (result != EQUILIF_OK) exit(result); } while (0)
#define BASE 0x40000000u

static uint32_t image[1 << 20];
static int16_t weights[EQUILIF_NETWORK_NUM_WEIGHTS], first_weights[EQUILIF_NETWORK_NUM_WEIGHTS];
static struct equilif_state state, first_state;
static uint16_t rates[EQUILIF_NETWORK_NUM_RATES];
static uint8_t inputs[EQUILIF_NETWORK_NUM_INPUTS + 1]; /* there may be none */
static int16_t patterns[(EQUILIF_NETWORK_NUM_TOKENS + 1) * (EQUILIF_NETWORK_TOKEN_WIDTH + 1)];
static struct equilif_engine engine;
static FILE *results;

uint32_t equilif_read32(uintptr_t address)
{
    uint32_t request[2], word;
    request[0] = (uint32_t)(address - BASE);
    request[1] = 0;
    fputc('R', stdout);
    fwrite(request, 4, 2, stdout);
    fflush(stdout);
    if (fread(&word, 4, 1, stdin) != 1)
        exit(100);
    return word;
}

void equilif_write32(uintptr_t address, uint32_t word)
{
    uint32_t request[2];
    request[0] = (uint32_t)(address - BASE);
    request[1] = word;
    fputc('W', stdout);
    fwrite(request, 4, 2, stdout);
}

static void record(uint32_t prediction)
{
    TRY(equilif_rates(&engine, rates));
    fwrite(&prediction, sizeof prediction, 1, results);
    fwrite(rates, sizeof rates, 1, results);
}

static void save(void)
{
    TRY(equilif_save(&engine, &state, weights));
    fwrite(weights, sizeof weights, 1, results);
    fwrite(&state.counter, sizeof state.counter, 1, results);
}

int main(int argc, char **argv)
{
    struct equilif_network opened;
    const struct equilif_network *network = &equilif_network;
    uint32_t counts[2], label, num_tokens, prediction, i;
    size_t n;
    FILE *f;

    if (argc != 5)
        return 101;
    if (strcmp(argv[1], "arrays")) {
        size_t size;
        if (!(f = fopen(argv[1], "rb")))
            return 102;
        size = fread(image, 1, sizeof image, f);
        fclose(f);
        TRY(equilif_open(&opened, image, size));
        network = &opened;
    }
    results = fopen(argv[3], "wb");
    f = fopen(argv[2], "rb");
    if (!results || !f || fread(counts, sizeof counts, 1, f) != 1)
        return 103;
    TRY(counts[0] + counts[1] ? equilif_load(&engine, BASE, network) : EQUILIF_OK);
    TRY(equilif_save(&engine, &first_state, first_weights));
    for (i = 0; i < counts[0] + counts[1]; i++) {
        if (fread(&label, 4, 1, f) != 1 || fread(&num_tokens, 4, 1, f) != 1)
            return 104;
        n = (size_t)num_tokens * EQUILIF_NETWORK_TOKEN_WIDTH;
        if (n > sizeof patterns / sizeof *patterns || fread(patterns, 2, n, f) != n ||
            fread(inputs, 1, EQUILIF_NETWORK_NUM_INPUTS, f) != EQUILIF_NETWORK_NUM_INPUTS)
            return 104;
        if (EQUILIF_NETWORK_NUM_TOKENS)
            TRY(equilif_tokens(&engine, patterns, num_tokens));
        if (i < counts[0])
            TRY(equilif_learn(&engine, inputs, label, &prediction));
        else
            TRY(equilif_predict(&engine, inputs, &prediction));
        record(prediction);
    }
    save();
    fclose(f);
    if (!(f = fopen(argv[4], "wb")))
        return 105;
    fwrite(&state, sizeof state, 1, f);
    fwrite(weights, sizeof weights, 1, f);
    TRY(equilif_restore(&engine, &first_state, first_weights));
    save();
    fclose(f);
    fclose(results);
    return 0;
}
