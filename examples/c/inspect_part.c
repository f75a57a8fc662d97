/* A verdict in C, without blemish: inspect_part graph.onnx image.pgm
 *
 * graph.onnx is what `blemish export --to onnx` wrote; it carries the numbers that are needed. The
 * image is a PGM, PPM or PAM (P5, P6, P7) of 8 or 16 bits, or a PFM of floats. Prints verdict, score
 * and p-value. Exit code 0 good, 1 defect, 2 an error, which a controller must treat as "not
 * inspected".
 *
 * In a line, do load() once and inspect() for each picture of the camera.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef OFFICIAL_HEADER
#include <onnxruntime_c_api.h>
#else
#include "ort.h"
#endif

typedef struct {
    int height, width, channels, most; /* most: 255 or 65535; 0: floats */
    float *pixels;                     /* row, column, channel */
} Image;

typedef struct {
    OrtSession *session;
    OrtMemoryInfo *memory;
    OrtModelMetadata *words;
    int height, width, pad, side, overlap; /* of windows, 0 if there are none */
    double white[2], top, threshold; /* white: of 8 and 16 bits; 0 if the graph takes raw numbers */
} Model;

static const OrtApi *ort;

static void stop(const char *why, const char *what) {
    fprintf(stderr, "%s: %s\n", why, what);
    exit(2);
}

static void check(OrtStatus *status) {
    if (status) stop("ONNX Runtime", ort->GetErrorMessage(status));
}

static void *space(size_t bytes) {
    void *made = malloc(bytes ? bytes : 1);
    if (!made) stop("memory", "there is not enough");
    return made;
}

/* What the model says under a name; see blemish/description.py. */
static const char *word(const Model *model, const char *key) {
    OrtAllocator *allocator;
    char *value = NULL;
    check(ort->GetAllocatorWithDefaultOptions(&allocator));
    check(ort->ModelMetadataLookupCustomMetadataMap(model->words, allocator, key, &value));
    if (!value) stop("the graph was not exported by blemish, it lacks", key);
    return value;
}

static Model load(const ORTCHAR_T *path) {
    Model model;
    OrtEnv *env;
    OrtSessionOptions *options;
    ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (!ort) stop("ONNX Runtime", "too old for this program");
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "inspect_part", &env));
    check(ort->CreateSessionOptions(&options));
    check(ort->CreateSession(env, path, options, &model.session));
    check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &model.memory));
    check(ort->SessionGetModelMetadata(model.session, &model.words));
    if (strcmp(word(&model, "blemish.interpolation"), "area"))
        stop("the model", "asks for another resize than this example knows");
    model.pad = !strcmp(word(&model, "blemish.fit"), "pad");
    model.side = model.overlap = 0;
    sscanf(word(&model, "blemish.tiles"), "%d %d", &model.side, &model.overlap);
    sscanf(word(&model, "blemish.size"), "%d %d", &model.height, &model.width);
    model.white[0] = model.white[1] = 0;
    sscanf(word(&model, "blemish.white"), "%lf %lf", &model.white[0], &model.white[1]);
    model.top = atof(word(&model, "blemish.top"));
    model.threshold = atof(word(&model, "blemish.threshold"));
    return model;
}

static int number(FILE *file) { /* of a PNM header, after spaces and comments */
    int value, letter;
    while ((letter = fgetc(file)) == '#' || letter == ' ' || letter == '\n' || letter == '\r')
        if (letter == '#')
            while ((letter = fgetc(file)) != '\n' && letter != EOF) {}
    ungetc(letter, file);
    return fscanf(file, "%d", &value) == 1 ? value : 0;
}

/* The header of a PAM, which has any number of channels. */
static void read_pam(FILE *file, Image *image) {
    char line[256];
    image->channels = image->most = 0;
    while (fgets(line, sizeof line, file) && strncmp(line, "ENDHDR", 6)) {
        sscanf(line, "WIDTH %d", &image->width), sscanf(line, "HEIGHT %d", &image->height);
        sscanf(line, "DEPTH %d", &image->channels), sscanf(line, "MAXVAL %d", &image->most);
    }
}

/* A PFM: floats of one channel or three, least byte first, the lowest row first. */
static Image read_floats(FILE *file, const char *path, int channels) {
    Image image = {0, 0, channels, 0, NULL};
    float scale = 0;
    image.width = number(file), image.height = number(file);
    if (fscanf(file, "%f", &scale) != 1 || image.width <= 0 || image.height <= 0 || scale >= 0)
        stop(path, "must be a PFM whose scale is below 0: least byte first");
    fgetc(file);
    size_t row = (size_t)image.width * channels;
    image.pixels = space(image.height * row * sizeof(float));
    for (int y = image.height - 1; y >= 0; y--)
        if (fread(image.pixels + y * row, sizeof(float), row, file) != row) stop(path, "is cut off");
    fclose(file);
    return image;
}

static Image read_pnm(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) stop(path, "cannot be opened");
    int first = fgetc(file), kind = fgetc(file);
    if (first == 'P' && (kind == 'F' || kind == 'f'))
        return read_floats(file, path, kind == 'F' ? 3 : 1);
    Image image = {0, 0, kind == '6' ? 3 : 1, 255, NULL};
    if (kind == '7') {
        read_pam(file, &image);
    } else {
        image.width = number(file), image.height = number(file), image.most = number(file);
        fgetc(file);
    }
    if (first != 'P' || kind < '5' || kind > '7' || image.width <= 0 || image.height <= 0 ||
        image.channels <= 0 || (image.most != 255 && image.most != 65535))
        stop(path, "must be a PGM, PPM or PAM (P5, P6, P7) whose white is 255 or 65535");
    size_t count = (size_t)image.width * image.height * image.channels;
    size_t wide = image.most > 255 ? 2 : 1;
    unsigned char *bytes = space(count * wide);
    if (fread(bytes, wide, count, file) != count) stop(path, "is cut off");
    image.pixels = space(count * sizeof(float));
    for (size_t i = 0; i < count; i++)
        image.pixels[i] = wide == 1 ? bytes[i] : 256.0f * bytes[2 * i] + bytes[2 * i + 1];
    free(bytes);
    fclose(file);
    return image;
}

/* How much each of `from` pixels counts for each of `to`, along one side: the share that a new
 * pixel covers when it shrinks, cubic convolution (a = -0.75) when it grows. (to, from) */
static double *side_weights(int from, int to) {
    double *weights = space((size_t)from * to * sizeof(double)), scale = (double)from / to;
    memset(weights, 0, (size_t)from * to * sizeof(double));
    for (int i = 0; i < to; i++) {
        if (from >= to) {
            for (int k = (int)(i * scale); k < from && k < (i + 1) * scale; k++)
                weights[(size_t)i * from + k] =
                    (fmin(k + 1, (i + 1) * scale) - fmax(k, i * scale)) / scale;
            continue;
        }
        double place = (i + 0.5) * scale - 0.5, a = -0.75;
        for (int k = (int)floor(place) - 1, last = k + 3; k <= last; k++) {
            double x = fabs(place - k);
            int inside = k < 0 ? 0 : k >= from ? from - 1 : k; /* the edge is repeated */
            weights[(size_t)i * from + inside] +=
                x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
        }
    }
    return weights;
}

/* Both sides by these weights; whole numbers are rounded. */
static Image resized(Image image, int height, int width) {
    Image made = {height, width, image.channels, image.most, NULL};
    double *down = side_weights(image.height, height), *across = side_weights(image.width, width);
    size_t row = (size_t)width * image.channels;
    double *half = space(image.height * row * sizeof(double));
    memset(half, 0, image.height * row * sizeof(double));
    for (int y = 0; y < image.height; y++)
        for (int x = 0; x < width; x++)
            for (int k = 0; k < image.width; k++) {
                double weight = across[(size_t)x * image.width + k];
                for (int c = 0; weight != 0 && c < image.channels; c++)
                    half[y * row + x * image.channels + c] +=
                        weight * image.pixels[((size_t)y * image.width + k) * image.channels + c];
            }
    made.pixels = space(height * row * sizeof(float));
    for (int y = 0; y < height; y++)
        for (size_t x = 0; x < row; x++) {
            double sum = 0;
            for (int k = 0; k < image.height; k++)
                sum += down[(size_t)y * image.height + k] * half[k * row + x];
            made.pixels[y * row + x] =
                image.most ? (float)fmin(fmax(rint(sum), 0), image.most) : (float)sum;
        }
    free(down), free(across), free(half);
    return made;
}

/* Refuses what the model has not learnt from: as many channels, of as many bits. */
static void require_known(const Model *model, Image image) {
    const char *channels = word(model, "blemish.channels"), *types = word(model, "blemish.types");
    int count = 0, known = 0;
    for (int read; sscanf(channels, "%d%n", &count, &read) == 1; channels += read)
        known |= count == image.channels;
    if (!known) stop("the image must have other channels, as many as", word(model, "blemish.channels"));
    if (!strstr(types, image.most > 255 ? "uint16" : image.most ? "uint8" : "float32"))
        stop("the image must hold other numbers", types);
}

/* For each pixel whether it is inspected; all are, and NULL is given, of a model without a region.
 * Makes the others blank. */
static unsigned char *region(const Model *model, Image image) {
    int height, width, run, inside = 0, most = image.channels > 2 ? image.channels : 2;
    size_t pixels = (size_t)image.height * image.width, at = 0;
    if (sscanf(word(model, "blemish.inspected"), "%d %d", &height, &width) != 2) return NULL;
    if (height != image.height || width != image.width)
        stop("the image must be as high and wide as the region", word(model, "blemish.inspected"));
    unsigned char *seen = space(pixels);
    double *blank = space(most * sizeof(double));
    const char *runs = word(model, "blemish.runs"), *told = word(model, "blemish.blank");
    for (int read, c = 0; c < most && sscanf(told, "%lf%n", &blank[c], &read) == 1; c++) told += read;
    for (int read; sscanf(runs, "%d%n", &run, &read) == 1; runs += read, inside = !inside)
        for (; run > 0 && at < pixels; run--, at++) {
            seen[at] = inside;
            for (int c = 0; !inside && c < image.channels; c++)
                image.pixels[at * image.channels + c] =
                    (float)blank[model->white[0] > 0 ? image.most > 255 : c];
        }
    if (at != pixels) stop("the graph", "does not tell of every pixel whether it is inspected");
    free(blank);
    return seen;
}

/* A window of an image; beyond the image its edge is repeated. */
static Image cut(Image image, int top, int left, int height, int width) {
    Image made = {height, width, image.channels, image.most, NULL};
    made.pixels = space((size_t)height * width * image.channels * sizeof(float));
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int row = top + y < 0 ? 0 : top + y < image.height ? top + y : image.height - 1;
            int column = left + x < 0 ? 0 : left + x < image.width ? left + x : image.width - 1;
            memcpy(made.pixels + ((size_t)y * width + x) * image.channels,
                   image.pixels + ((size_t)row * image.width + column) * image.channels,
                   image.channels * sizeof(float));
        }
    return made;
}

/* A grid of scores at an image's own size, bilinear, centres on centres. */
static float *enlarged(const float *grid, const int64_t sides[2], int height, int width) {
    float *map = space((size_t)height * width * sizeof(float));
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            double v = fmin(fmax((y + 0.5) * sides[0] / height - 0.5, 0), sides[0] - 1);
            double u = fmin(fmax((x + 0.5) * sides[1] / width - 0.5, 0), sides[1] - 1);
            int64_t r = (int64_t)v, c = (int64_t)u, below = r + (r + 1 < sides[0]);
            int64_t right = c + (c + 1 < sides[1]);
            double upper = grid[r * sides[1] + c] * (1 - (u - c)) + grid[r * sides[1] + right] * (u - c);
            double lower =
                grid[below * sides[1] + c] * (1 - (u - c)) + grid[below * sides[1] + right] * (u - c);
            map[(size_t)y * width + x] = (float)(upper * (1 - (v - r)) + lower * (v - r));
        }
    return map;
}

/* What the graph says of an image, or of a window of one, at its own size. */
static float *scores_of(const Model *model, Image image) {
    int h = model->height, w = model->width, raw = model->white[0] == 0;
    int planes = raw ? image.channels : 3;
    int64_t shape[4] = {1, planes, h, w}, sides[2];
    size_t plane = (size_t)h * w, bytes = planes * plane * sizeof(float);
    double white = model->white[image.most > 255];
    /* first what shrinks, then what grows, as described */
    Image small = resized(image, image.height < h ? image.height : h, image.width < w ? image.width : w);
    Image fit = resized(small, h, w);
    float *given = space(bytes), *grid;
    for (size_t i = 0; i < plane; i++)
        for (int c = 0; c < planes; c++) { /* grey fills all three */
            float value = fit.pixels[i * fit.channels + (fit.channels == planes ? c : 0)];
            given[c * plane + i] = raw ? value : fminf(value / (float)white, 1);
        }
    OrtValue *input = NULL, *output = NULL;
    OrtTensorTypeAndShapeInfo *info;
    const char *names[] = {"image"}, *made[] = {"map"};
    check(ort->CreateTensorWithDataAsOrtValue(model->memory, given, bytes, shape, 4,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &input));
    check(ort->Run(model->session, NULL, names, (const OrtValue *const *)&input, 1, made, 1, &output));
    check(ort->GetTensorTypeAndShape(output, &info));
    check(ort->GetDimensions(info, sides, 2));
    check(ort->GetTensorMutableData(output, (void **)&grid));
    float *map = enlarged(grid, sides, image.height, image.width);
    ort->ReleaseTensorTypeAndShapeInfo(info);
    ort->ReleaseValue(output), ort->ReleaseValue(input);
    free(given), free(small.pixels), free(fit.pixels);
    return map;
}

/* The mean of each box-sized neighbourhood along one side, zeros outside. */
static void blur(float *map, int count, int step, int lines, int line_step, int box) {
    double *sums = space((count + 1) * sizeof(double));
    for (int line = 0; line < lines; line++) {
        float *at = map + (size_t)line * line_step;
        sums[0] = 0;
        for (int i = 0; i < count; i++) sums[i + 1] = sums[i] + at[(size_t)i * step];
        for (int i = 0; i < count; i++) {
            int from = i - box / 2 < 0 ? 0 : i - box / 2, to = i + box / 2 + 1;
            at[(size_t)i * step] = (float)((sums[to < count ? to : count] - sums[from]) / box);
        }
    }
    free(sums);
}

/* Where windows begin along a side: as few as share at least the overlap, evenly spread; of a side
 * that is shorter than a window the one that has it in the middle. Gives their number. */
static int starts_of(const Model *model, int length, int **starts) {
    int side = model->side, apart = side - model->overlap;
    int count = length <= side ? 1 : (length - model->overlap + apart - 1) / apart;
    *starts = space(count * sizeof(int));
    for (int i = 0; i < count; i++)
        (*starts)[i] = length <= side ? -((side - length) / 2)
                                      : (int)rint(i * ((double)(length - side) / (count - 1)));
    return count;
}

/* How much each window counts at its pixels along a side of the image: over the middle third of what
 * two share one fades into the other, and all that count at a pixel sum to 1. (count, side) */
static double *window_weights(const Model *model, int length, const int *starts, int count) {
    int side = model->side;
    size_t all = (size_t)count * side;
    double *weights = space(all * sizeof(double)), *total = space(length * sizeof(double));
    for (size_t k = 0; k < all; k++) weights[k] = 1;
    for (int i = 0; i + 1 < count; i++) {
        int shared = starts[i] + side - starts[i + 1];
        for (int k = 0; k < shared; k++) {
            double way = fmin(fmax(3 * (k + 0.5) / shared - 1, 0), 1) * acos(-1) / 2;
            weights[(size_t)i * side + side - shared + k] *= cos(way) * cos(way);
            weights[(size_t)(i + 1) * side + k] *= sin(way) * sin(way);
        }
    }
    memset(total, 0, length * sizeof(double));
    for (size_t k = 0; k < all; k++) {
        int place = starts[k / side] + (int)(k % side);
        if (place >= 0 && place < length) total[place] += weights[k];
    }
    for (size_t k = 0; k < all; k++) {
        int place = starts[k / side] + (int)(k % side);
        weights[k] = place >= 0 && place < length ? weights[k] / total[place] : 0;
    }
    free(total);
    return weights;
}

/* Whether a window shows something that is inspected. */
static int shows(Image image, const unsigned char *seen, int top, int left, int side) {
    for (int y = top < 0 ? 0 : top; y < top + side && y < image.height; y++)
        for (int x = left < 0 ? 0 : left; x < left + side && x < image.width; x++)
            if (!seen || seen[(size_t)y * image.width + x]) return 1;
    return 0;
}

/* The map of an image from those of its windows; what shows nothing that is inspected counts as 0. */
static float *tiled(const Model *model, Image image, const unsigned char *seen) {
    int *tops, *lefts, side = model->side;
    int rows = starts_of(model, image.height, &tops), columns = starts_of(model, image.width, &lefts);
    double *down = window_weights(model, image.height, tops, rows);
    double *across = window_weights(model, image.width, lefts, columns);
    size_t bytes = (size_t)image.height * image.width * sizeof(float);
    float *map = memset(space(bytes), 0, bytes);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            if (!shows(image, seen, tops[i], lefts[j], side)) continue;
            Image window = cut(image, tops[i], lefts[j], side, side);
            float *own = scores_of(model, window);
            for (int y = 0; y < side; y++)
                for (int x = 0; x < side; x++) {
                    double weight = down[(size_t)i * side + y] * across[(size_t)j * side + x];
                    if (weight > 0) /* so it is within the image */
                        map[(size_t)(tops[i] + y) * image.width + lefts[j] + x] +=
                            (float)(weight * own[(size_t)y * side + x]);
                }
            free(own), free(window.pixels);
        }
    free(tops), free(lefts), free(down), free(across);
    return map;
}

/* After the boxes that the model was calibrated with. */
static void blurred(const Model *model, float *map, int height, int width) {
    const char *boxes = word(model, "blemish.boxes");
    for (int box, passes, read; sscanf(boxes, "%d %d%n", &box, &passes, &read) == 2; boxes += read)
        while (passes-- > 0) {
            blur(map, width, 1, height, width, box);
            blur(map, height, width, width, 1, box);
        }
}

/* How odd each pixel is. */
static float *map_of(const Model *model, Image image, const unsigned char *seen) {
    int height = image.height, width = image.width, side = height > width ? height : width;
    if (model->side || !model->pad) {
        float *map = model->side ? tiled(model, image, seen) : scores_of(model, image);
        blurred(model, map, height, width);
        return map;
    }
    int top = (side - height) / 2, left = (side - width) / 2; /* of the image in its square */
    Image square = cut(image, -top, -left, side, side);
    float *whole = scores_of(model, square), *map = space((size_t)height * width * sizeof(float));
    blurred(model, whole, side, side);
    for (int y = 0; y < height; y++)
        memcpy(map + (size_t)y * width, whole + (size_t)(top + y) * side + left, width * sizeof(float));
    free(whole), free(square.pixels);
    return map;
}

static int falling(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* Refuses floats that are no measured numbers: a network may make anything of them. */
static void require_measured(Image image, const unsigned char *seen) {
    for (size_t i = 0; i < (size_t)image.height * image.width * image.channels; i++)
        if ((!seen || seen[i / image.channels]) && !(fabsf(image.pixels[i]) < 1e30f))
            stop("the image", "must hold measured numbers where it is inspected");
}

static double inspect(const Model *model, Image image) {
    require_known(model, image);
    unsigned char *seen = region(model, image);
    require_measured(image, seen);
    float *map = map_of(model, image, seen);
    size_t pixels = 0;
    for (size_t i = 0; i < (size_t)image.width * image.height; i++)
        if (!seen || seen[i]) map[pixels++] = map[i];
    size_t count = (size_t)(pixels * model->top);
    double sum = 0;
    qsort(map, pixels, sizeof(float), falling);
    if (count < 1) count = 1;
    for (size_t i = 0; i < count; i++) sum += map[i];
    free(map), free(seen);
    return sum / count;
}

static double p_value(const Model *model, double score) {
    const char *scores = word(model, "blemish.scores");
    double one, count = 0, above = 0;
    for (int read; sscanf(scores, "%lf%n", &one, &read) == 1; scores += read)
        count++, above += one >= score;
    return (1 + above) / (1 + count);
}

int main(int count, char **words) {
    if (count != 3) stop("usage", "inspect_part graph.onnx image.pgm");
    Model model = load(words[1]); /* on Windows make it wide characters first */
    double score = inspect(&model, read_pnm(words[2]));
    int defect = !(score <= model.threshold);
    printf("%s %.9g %.9g\n", defect ? "defect" : "good", score, p_value(&model, score));
    return defect;
}
